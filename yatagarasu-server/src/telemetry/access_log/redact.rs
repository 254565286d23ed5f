//! Hides secrets in the queries that are logged.

/// Words in the names of query parameters whose values are secrets.
const SECRET: [&str; 8] =
    ["signature", "credential", "token", "secret", "password", "passwd", "api_key", "apikey"];

/// Names of query parameters whose values are secrets: `sig` of Azure, `auth`, and `AWSAccessKeyId` of old signatures.
const NAMES: [&str; 4] = ["sig", "auth", "key-pair-id", "awsaccesskeyid"];

/// Returns a query with `***` in the place of each value that may be a secret, such as a signature.
pub(crate) fn redacted(query: &str) -> String {
    let mut redacted = String::with_capacity(query.len());
    for (index, parameter) in query.split('&').enumerate() {
        if index > 0 {
            redacted.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                redacted.push_str(name);
                redacted.push_str("=***");
            }
            _ => redacted.push_str(parameter),
        }
    }
    redacted
}

/// Returns a URL with a redacted query.
pub(crate) fn redacted_url(url: &str) -> String {
    match url.split_once('?') {
        Some((before, query)) => format!("{before}?{}", redacted(query)),
        None => url.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace("%5f", "_").replace("%2d", "-");
    SECRET.iter().any(|word| name.contains(word)) || NAMES.contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_hidden() {
        let check = |query: &str, expected: &str| assert_eq!(redacted(query), expected);
        check("", "");
        check("v=1&w", "v=1&w");
        check(
            "X-Amz-Signature=ab&X-Amz-Credential=c&X-Amz-Date=d&x-amz-security-token=e",
            "X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Date=d&x-amz-security-token=***",
        );
        check("sig=1&Auth=2&access%5Ftoken=3&author=4", "sig=***&Auth=***&access%5Ftoken=***&author=4");
        check("token", "token");
        assert_eq!(redacted_url("https://a.example/p?token=1&b=2"), "https://a.example/p?token=***&b=2");
    }
}
