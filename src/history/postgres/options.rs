//! The parameter `options` of a URL: settings that the server sets when a connection is opened.

use url::Url;

/// The URL without its settings. One that cannot be parsed is returned unchanged.
pub fn without_options(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    let is_options = |name: &str| name == "options" || name.starts_with("options[");
    let pairs = parsed.query_pairs().filter(|(name, _)| !is_options(name));
    let pairs: Vec<(String, String)> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    if pairs.is_empty() {
        parsed.set_query(None);
    } else {
        parsed.query_pairs_mut().clear().extend_pairs(pairs);
    }
    parsed.into()
}

/// Names and values of the settings of command-line options, such as `-c search_path=map -c jit=off`.
///
/// # Errors
/// With the option that sets nothing, without its value.
pub fn read_options(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next().unwrap_or_default(),
            Some(assignment) => assignment.to_owned(),
            None => word.strip_prefix("--").unwrap_or_default().to_owned(),
        };
        let (name, value) = assignment.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            let name = word.split('=').next().unwrap_or_default();
            format!("expected -c name=value or --name=value, not {name}")
        })?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Words between spaces; a backslash makes the next character a part of its word.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            words.extend(word.take());
        } else {
            let literal = if character == '\\' { characters.next() } else { Some(character) };
            word.get_or_insert_default().extend(literal);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_server_reads_them() {
        let text = r"-c search_path=map\ one,public  -cjit=off --statement-timeout=5s -c application_name=a\\b";
        let expected = [
            ("search_path", "map one,public"),
            ("jit", "off"),
            ("statement_timeout", "5s"),
            ("application_name", r"a\b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read_options(text).unwrap(), expected);
        assert_eq!(read_options(" ").unwrap(), []);
        for wrong in ["-c", "-c search_path", "-d 5", "search_path=map", "--=x", "-c =x"] {
            assert!(read_options(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_settings_are_removed_from_a_url() {
        let url = "postgres://u:p%40ss@h:6432/d?sslmode=disable&options=-c%20jit%3Doff&options[search_path]=map";
        assert_eq!(without_options(url), "postgres://u:p%40ss@h:6432/d?sslmode=disable");
        assert_eq!(without_options("postgres://h/d?options=-cjit%3Doff"), "postgres://h/d");
        assert_eq!(without_options("postgres://h/d"), "postgres://h/d");
    }
}
