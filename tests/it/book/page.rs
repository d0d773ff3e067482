//! The commands in a page, and what they are said to print.

/// Expected result of running a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every command succeeds.
    Succeeds,
    /// The last one does not.
    Fails,
    /// It is left out, for this reason.
    NotRun(String),
}

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// First line in the page.
    pub line: usize,
    pub commands: String,
    /// Expected output, from the following block.
    pub output: Option<String>,
    pub fate: Fate,
}

/// Opening fence of a command block.
const COMMANDS: &str = "sh";

/// Other names of the shell language, which are rejected, so that no block is overlooked.
const OTHER_SHELLS: [&str; 5] = ["bash", "shell", "console", "zsh", "shell-session"];

/// The blocks of commands in a page.
///
/// # Errors
/// The line that cannot be understood, and why.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found: Vec<Block> = Vec::new();
    let mut fate = None;
    // whether nothing but blank lines has come since the last block of commands
    let mut right_behind = false;
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let number = number + 1;
        if let Some(comment) = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            let comment = comment.trim();
            if let Some(commands) = comment.strip_prefix("before:").map(|commands| commands.trim().to_owned()) {
                found.push(Block { line: number, commands, output: None, fate: Fate::Succeeds });
            }
            fate = fate_of(comment).or(fate);
            continue;
        }
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                if fate.is_some() {
                    return Err(format!("{number}: the comment before is about a block of commands, and none follows"));
                }
                right_behind = false;
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text: Vec<&str> = body.map(|line| line.get(indent..).unwrap_or_default()).collect();
        let text = text.join("\n");
        if OTHER_SHELLS.contains(&language) {
            return Err(format!("{number}: write ```{COMMANDS} in place of ```{language}"));
        }
        if language == COMMANDS {
            let fate = fate.take().unwrap_or(Fate::Succeeds);
            found.push(Block { line: number, commands: text, output: None, fate });
            right_behind = true;
        } else if matches!(language, "json" | "text") && std::mem::take(&mut right_behind) {
            found.last_mut().expect("it is behind one").output = Some(text);
        }
    }
    Ok(found)
}

fn fate_of(comment: &str) -> Option<Fate> {
    let reason = |prefix| comment.strip_prefix(prefix).map(str::trim).filter(|reason: &&str| !reason.is_empty());
    reason("not run:").map(|reason| Fate::NotRun(reason.to_owned())).or_else(|| reason("fails:").map(|_| Fate::Fails))
}

/// Compares output with a page: equal except for white space, which JSON may have elsewhere, and `…`, which matches
/// anything.
pub fn is_as_shown(shown: &str, printed: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let (shown, printed) = (plain(shown), plain(printed));
    let mut parts = shown.split('…');
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn commands_are_found_with_their_output_and_their_fate() {
    let page = "\
text
<!-- not run: needs a cluster -->
```sh
kubectl get pods
```

```sh
curl a
```

```json
{\"a\": …}
```

```json
{\"of\": \"no command\"}
```
<!-- fails: nothing is there -->

```sh
curl b
```
";
    let block = |line, commands: &str, output: Option<&str>, fate| Block {
        line,
        commands: commands.to_owned(),
        output: output.map(str::to_owned),
        fate,
    };
    let expected = vec![
        block(3, "kubectl get pods", None, Fate::NotRun("needs a cluster".to_owned())),
        block(7, "curl a", Some("{\"a\": …}"), Fate::Succeeds),
        block(20, "curl b", None, Fate::Fails),
    ];
    assert_eq!(blocks(page).unwrap(), expected);
    assert!(blocks("```console\n$ ls\n```").is_err());
    assert!(blocks("<!-- not run: why -->\nno block").is_err());
}

#[test]
fn output_is_compared_but_for_blanks_and_ellipses() {
    assert!(is_as_shown("{\"a\": 1}", "{\"a\":1}\n"));
    assert!(is_as_shown("{\"a\": …, \"b\": 2}", "{\"a\":[1,2],\"b\":2}"));
    assert!(is_as_shown("…b…", "abc"));
    assert!(!is_as_shown("a", "ab"));
    assert!(!is_as_shown("…b", "abc"));
    assert!(!is_as_shown("a…c…b", "abc"));
}
