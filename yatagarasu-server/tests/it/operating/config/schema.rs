//! Tests of the JSON Schema of the configuration file, with a validator that is not ours.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};
use yatagarasu_server::config::{example, schema};

use super::{LONG, SHORT, load_in};

/// The variables that the tests use.
const VARIABLES: [(&str, &str); 2] = [("YATAGARASU_ADMIN_TOKEN", "t0ken"), ("NUMBER", "5")];

struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let schema = serde_json::from_str(&schema()).unwrap();
        compiler.add_resource("config.json", schema).unwrap();
        let index = compiler.compile("config.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn accepts(&self, tree: &Value) -> bool {
        self.schemas.validate(tree, self.index).is_ok()
    }
}

/// Returns YAML as a JSON value.
fn json_of(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(number) => json!(number.parse::<f64>().unwrap()),
        Yaml::Integer(number) => json!(number),
        Yaml::String(text) => json!(text),
        Yaml::Boolean(value) => json!(value),
        Yaml::Array(values) => values.iter().map(json_of).collect(),
        Yaml::Hash(members) => {
            let members =
                members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), json_of(value)));
            Value::Object(members.collect())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

fn parse(text: &str) -> Value {
    json_of(&YamlLoader::load_from_str(text).unwrap()[0])
}

#[test]
fn the_schema_accepts_the_example_and_refuses_what_is_wrong() {
    let validator = Validator::new();
    for text in [SHORT, LONG, &example()] {
        assert!(validator.accepts(&parse(text)), "{text}");
    }
    let bucket = |more: &str| format!("buckets: [{{ name: a, path_prefix: /a, {more} }}]");
    for (accepted, text) in [
        (true, bucket("cache: { ttl: \"1h\", max_size: \"1.5 gib\", enabled: \"Off\" }")),
        (
            true,
            bucket(
                "s3: { connect_timeout: \"${LIMIT}\", backend: \"${BACKEND}\", path_style: \"${STYLE}\" }",
            ),
        ),
        (true, format!("server: {{ threads: \"4\", send_timeout: 0, notsent_lowat: 0 }}\n{}", bucket(""))),
        (false, "buckets: []".to_owned()),
        (false, "server: {}".to_owned()),
        (false, "buckets: [{ name: a }]".to_owned()),
        (false, "buckets: [{ path_prefix: /a }]".to_owned()),
        (false, "buckets: [just a text]".to_owned()),
        (false, bucket("colour: blue")),
        (false, bucket("cache: { evction: lru }")),
        (false, bucket("cache: { eviction: fifo }")),
        (false, bucket("cache: { ttl: soon }")),
        (false, bucket("cache: { ttl: -1 }")),
        (false, bucket("cache: { max_size: 10 XB }")),
        (false, bucket("cache: { enabled: maybe }")),
        (false, bucket("cache: { negative_statuses: [500] }")),
        (false, bucket("cache: { negative_statuses: 404 }")),
        (false, bucket("s3: { access_key: 123 }")),
        (false, bucket("s3: { forward_query: v }")),
        (false, bucket("s3: { idle_timeout: 0 }")),
        (false, bucket("s3: { receive_buffer: 4095 }")),
        (false, bucket("s3: { receive_buffer: 2147483648 }")),
        (false, format!("server: {{ threads: 65536 }}\n{}", bucket(""))),
        (false, format!("server: {{ threads: many }}\n{}", bucket(""))),
        (false, format!("server: [8080]\n{}", bucket(""))),
    ] {
        assert_eq!(validator.accepts(&parse(&text)), accepted, "{text}");
    }
}

/// Returns the JSON pointers of all properties below `schema`, in a configuration of one bucket.
fn pointers(schema: &Value, place: &str) -> Vec<String> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, property) in properties {
        let place = format!("{place}/{name}");
        found.push(place.clone());
        found.extend(pointers(property, &place));
        found.extend(pointers(&property["items"], &format!("{place}/0")));
    }
    found
}

/// The schema may accept more than the loader, but refuses nothing that loads.
#[test]
fn the_schema_accepts_whatever_loads() {
    let validator = Validator::new();
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(5),
        json!(70_000),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("0"),
        json!("5"),
        json!(" 5 "),
        json!("+5"),
        json!("007"),
        json!("5s"),
        json!("5 KiB"),
        json!("8kib"),
        json!("1.5 MB"),
        json!("on"),
        json!("YES"),
        json!("lru"),
        json!(" lru "),
        json!("LRU"),
        json!("ignore"),
        json!("native"),
        json!("foyer"),
        json!("/a"),
        json!("${NUMBER}"),
        json!("${NUMBER}s"),
        json!("x"),
        json!("[::]:80"),
        json!("localhost:1"),
        json!("http://h"),
        json!([]),
        json!({}),
        json!(301),
        json!(1.2),
        json!([404]),
        json!(["403", 404]),
        json!([405]),
        json!(["*"]),
        json!(["accept"]),
        json!([1, true]),
        json!(["a", null]),
        json!([{}]),
        json!({ "x": 1 }),
    ];
    let schema = serde_json::from_str(&schema()).unwrap();
    let (mut loaded, mut refused) = (0, 0);
    for place in pointers(&schema, "") {
        for value in &values {
            let mut tree = json!({ "server": { "client_address": {}, "warm_restart": {} }, "admin": { "prices": {} },
                "events": { "sqs": {} }, "log": {}, "tracing": {}, "buckets": [
                { "name": "a", "path_prefix": "/a", "site": {}, "compression": {}, "s3": { "tls": {} }, "cache": {} },
            ]});
            let (section, name) = place.rsplit_once('/').unwrap();
            tree.pointer_mut(section).unwrap()[name] = value.clone();
            let accepted = validator.accepts(&tree);
            if load_in(&tree.to_string(), &VARIABLES).is_ok() {
                assert!(accepted, "{place}: {value} loads");
                loaded += 1;
            } else if !accepted {
                refused += 1;
            }
        }
    }
    assert!(loaded > 300 && refused > 900, "{loaded} loaded, {refused} were refused");
}
