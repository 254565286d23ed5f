//! The `config` commands.

use std::fs;

use tempfile::TempDir;
use yatagarasu_server::config::{example, schema};

use crate::process::{command, finish, run};

/// Creates a file in a temporary folder. Returns the folder, which removes itself when dropped, and the file's path.
fn file(name: &str, text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    (folder, file.to_str().unwrap().to_owned())
}

#[test]
fn init_writes_what_loads() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("new.yaml");
    let name = file.to_str().unwrap();
    let said = run(&["config", "init", name]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains(&format!("{name}: written")), "{}", said.stdout);
    assert_eq!(fs::read_to_string(&file).unwrap(), example());
    let said = run(&["config", "check", name]);
    assert_eq!((said.status, said.stdout), (0, format!("{name}: ok, 2 buckets\n")));
    assert_eq!(run(&["config", "init"]).stdout, example());
}

#[test]
fn init_writes_over_nothing() {
    let (_folder, name) = file("mine.yaml", "mine");
    let check = |name: &str, words: &str| {
        let said = run(&["config", "init", name]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""));
        assert!(said.stderr.starts_with(&format!("yatagarasu: {name}: ")), "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    };
    check(&name, "exists already");
    assert_eq!(fs::read_to_string(&name).unwrap(), "mine");
    check(&name.replace("mine.yaml", "new.toml"), "ends in .yaml");
    check("/does/not/exist.yaml", "cannot be written");
}

#[test]
fn check_says_everything_that_is_wrong_one_line_each() {
    let (_folder, name) = file(
        "wrong.yaml",
        "server: { address: here, threads: many, colour: blue }\n\
         buckets:\n  - { name: a, path_prefix: a, cache: { ttl: soon } }\n  - { path_prefix: /b }\n",
    );
    for what in ["check", "show"] {
        let said = run(&["config", what, &name]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""));
        for key in [
            "server.address",
            "server.threads",
            "server.colour",
            "buckets[0].path_prefix",
            "buckets[0].cache.ttl",
            "buckets[1].name",
        ] {
            let line = format!("yatagarasu: {name}: {key}: ");
            assert!(said.stderr.lines().any(|found| found.starts_with(&line)), "{line} in {}", said.stderr);
        }
        assert_eq!(said.stderr.lines().count(), 6, "{}", said.stderr);
    }
    let said = run(&["config", "check", "/does/not/exist.yaml"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.starts_with("yatagarasu: /does/not/exist.yaml: cannot be read"), "{}", said.stderr);
}

#[test]
fn show_gives_what_takes_effect_without_secrets() {
    let (_folder, name) = file(
        "c.yaml",
        "buckets:\n  - name: a\n    path_prefix: /a\n    s3: { access_key: \"the-id\", secret_key: \"${SECRET}\" }\n",
    );
    let mut command = command(&["config", "show", &name]);
    command.env("SECRET", "the-secret").env("YATAGARASU_ADMIN_TOKEN", "the-token");
    let said = finish(command.env("YATAGARASU__SERVER__THREADS", "3"));
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains("threads: 3") && said.stdout.contains("max_item_size: 10MB"), "{said:?}");
    assert!(!said.stdout.contains("the-"), "{said:?}");
    assert_eq!(said.stdout.matches("***").count(), 3, "{said:?}");
}

#[test]
fn schema_prints_the_schema() {
    let said = run(&["config", "schema"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains("https://json-schema.org/draft/2020-12/schema"), "{}", said.stdout);
    assert_eq!(said.stdout, schema());
}

#[test]
fn migrate_renames_keys_and_keeps_the_file_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let old = "# ours\nbuckets:\n  - name: a\n    path_prefix: /\n    s3: { region: us-east-1, max_connections: 7 }\n";
    std::fs::write(&file, old).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(run(&["config", "check", path]).status, 2, "the old name is an error");
    let said = run(&["config", "migrate", path]);
    assert_eq!((said.status, said.stdout), (0, old.replace("max_connections", "connections_max")));
    assert!(said.stderr.contains("line 5: `max_connections` is `connections_max` now"), "{}", said.stderr);
    assert!(said.stderr.contains("`cache.stale_if_error` was 0 by default"), "{}", said.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), old, "it is only printed");
    let said = run(&["config", "migrate", path, "--write"]);
    assert!(said.status == 0 && said.stdout.contains("written; the one before is"), "{said:?}");
    assert_eq!(run(&["config", "check", path]).status, 0);
    assert_eq!(std::fs::read_to_string(folder.path().join("c.yaml.old")).unwrap(), old);
    let said = run(&["config", "migrate", path, "--write"]);
    assert!(said.stdout.contains("no key has another name now"), "{said:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    // It follows a link, and keeps the first copy.
    let link = folder.path().join("link.yaml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::fs::write(&file, old.replace(": 7", ": 8")).unwrap();
    let said = run(&["config", "migrate", link.to_str().unwrap(), "--write"]);
    assert!(said.status == 0 && said.stdout.contains("c.yaml.old2"), "{said:?}");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read_to_string(&file).unwrap().contains("connections_max: 8"));
    assert_eq!(std::fs::read_to_string(folder.path().join("c.yaml.old")).unwrap(), old);
    let toml = folder.path().join("c.toml");
    std::fs::write(&toml, "bucket = []\n").unwrap();
    let said = run(&["config", "migrate", toml.to_str().unwrap(), "--write"]);
    assert!(said.status == 2 && said.stderr.contains("bucket: unknown key"), "{said:?}");
    for (text, reason) in [("buckets: [", "c.yaml"), ("bucket: []\n", "bucket: unknown key")] {
        std::fs::write(&file, text).unwrap();
        for write in [&[][..], &["--write"]] {
            let said = run(&[&["config", "migrate", path], write].concat());
            assert!(said.status == 2 && said.stderr.contains(reason), "{said:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    assert_eq!(run(&["config", "migrate", "/nowhere.yaml"]).status, 2);
}
