//! Every command of the README and of the book, run as a reader would run it.
//!
//! A page's `sh` blocks run in order, in one shell, in a temporary folder with `deploy/` and `openapi/` of the repository.
//! `living-map` is our own binary, and addresses are those of private servers started for the page (see `shell.rs`). Every
//! command must succeed, and HTTP requests must be answered with success; a `json` or `text` block directly after the
//! commands is their output, where `…` matches anything.
//!
//! A block may be preceded by a comment for the reader of the source:
//!
//! - `<!-- not run: reason -->`: it needs something that tests do not have. A test lists these.
//! - `<!-- fails: reason -->`: its last command fails, as the page says.
//! - `<!-- before: command -->`: sets up what the page assumes.

mod page;
mod shell;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use page::{Block, Fate, blocks};
use shell::Shell;

/// Generates a test for each page, so that they run in parallel.
macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                run($page).await;
            }
        )*
    };
}

pages! {
    the_readme: "README.md",
    the_start: "docs/start.md",
    the_api: "docs/api.md",
    operating: "docs/operating.md",
    replacing_the_old_service: "docs/replacing.md",
    alert_rules: "docs/alerts.md",
    extending: "docs/extending.md",
    backup_and_restore: "docs/backup.md",
}

fn read(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page is there");
    blocks(&text).unwrap_or_else(|problem| panic!("{page}:{problem}"))
}

async fn run(page: &str) {
    let blocks = read(page);
    let commands: Vec<&Block> = blocks.iter().filter(|block| !matches!(block.fate, Fate::NotRun(_))).collect();
    let text: String = commands.iter().map(|block| &*block.commands).collect();
    let mut shell = Shell::start(&text).await;
    for block in commands {
        let (line, commands) = (block.line, &block.commands);
        let fails = matches!(block.fate, Fate::Fails);
        if let Err(problem) = shell.run(commands, fails, block.output.as_deref()).await {
            panic!("{page}:{line}: {problem}\n---- commands\n{commands}\n---- {}", shell.told());
        }
    }
}

/// A page that is not run becomes outdated unnoticed.
#[test]
fn every_page_with_commands_is_run_and_what_is_not_run_says_why() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let markdown = docs.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
    let pages = markdown.map(|name| format!("docs/{name}")).chain(["README.md".to_owned()]);
    let mut with_commands = BTreeSet::new();
    for page in pages {
        for block in read(&page) {
            match block.fate {
                Fate::NotRun(why) => println!("{page}:{}: not run: {why}", block.line),
                Fate::Succeeds | Fate::Fails => {
                    with_commands.insert(page.clone());
                }
            }
        }
    }
    let run: BTreeSet<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(run, with_commands, "the pages that are run on the left, those with commands on the right");
}
