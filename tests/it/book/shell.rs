//! The shell in which a page's commands run.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use living_map::history::Pooler;

use super::page::is_as_shown;
use crate::support::daemon::{Folder, free_port};
use crate::support::nats::NatsServer;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres;

/// Timeout of a block, including a server's start.
const PATIENCE: Duration = Duration::from_secs(90);

/// Replacements for Ctrl-C, a second terminal and the reader's check of the HTTP status.
const PRELUDE: &str = r#"
set -eo pipefail

# A server goes on in the background; one that is started after it takes its place.
living-map() {
  case "$1" in
    serve | demo) ;;
    *) command living-map "$@"; return ;;
  esac
  if [[ " $* " == *" --help "* ]]; then command living-map "$@"; return; fi
  stop-server
  command living-map "$@" </dev/null >>server.log 2>&1 &
  server=$!
  until command curl -sf "http://127.0.0.1:$PORT/living-map/health" >/dev/null; do
    kill -0 "$server" || { tail -n 20 server.log; return 1; }
    sleep 0.1
  done
  until [[ $(command curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/living-map/ready") == 200 ]]; do sleep 0.1; done
}

stop-server() {
  if [[ -n ${server:-} ]]; then kill -TERM "$server" && wait "$server"; server=; fi
}

# An answer that is no success is a failure; a reader who has seen enough (`| head`) is none. One in the background is a
# separate process, to be killed.
curl() {
  if [[ $BASHPID != $$ && ! -p /dev/stdout ]]; then exec curl --silent --fail-with-body "$@"; fi
  local status=0
  command curl --silent --fail-with-body "$@" || status=$?
  case $status in
    0 | 23) ;;
    22) return 22 ;;
    *) echo "curl: exit code $status" >&2; return "$status" ;;
  esac
}

# Targets that take minutes are only checked to exist; the demo is run.
make() {
  command make --dry-run --no-print-directory -C "$ROOT" "$@" >/dev/null
  if [[ $1 == demo ]]; then
    local arguments=${2:-}
    living-map demo ${arguments#ARGS=}
  fi
}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
"#;

/// A shell, and the servers that a page speaks of.
pub struct Shell {
    bash: Child,
    folder: Folder,
    /// Text of a page and its replacement in the test.
    places: Vec<(&'static str, String)>,
    blocks: u32,
    _nats: Option<NatsServer>,
    _pooler: Option<PgBouncer>,
}

impl Shell {
    /// One for a page with these commands: it has the servers that they name.
    pub async fn start(commands: &str) -> Self {
        let folder = Folder::new("book");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for shared in ["deploy", "openapi"] {
            symlink(root.join(shared), folder.path().join(shared)).expect("a link can be made");
        }
        fs::create_dir(folder.path().join("etc")).expect("a folder can be made");
        let ports = [free_port(), free_port(), free_port()];
        let mut places = vec![
            ("localhost:7017", format!("127.0.0.1:{}", ports[0])),
            ("localhost:9109", format!("127.0.0.1:{}", ports[1])),
            ("localhost:7027", format!("127.0.0.1:{}", ports[2])),
            ("PORT=7027", format!("PORT={}", ports[2])),
            ("target/release/living-map", "living-map".to_owned()),
            ("/etc/living-map", folder.path().join("etc").display().to_string()),
        ];
        let mut nats = None;
        if commands.contains("nats://nats:4222") {
            let server = NatsServer::start().await;
            places.push(("nats://nats:4222", server.url()));
            nats = Some(server);
        }
        for database in
            ["postgres://living_map:secret@db:5432/living_map", "postgres://living_map:secret@db:5432/restored"]
        {
            if commands.contains(database) {
                places.push((database, postgres::database().await));
            }
        }
        let (pooled, mut pooler) = ("postgres://living_map:secret@pgbouncer:6432/living_map", None);
        if commands.contains(pooled) {
            let url = postgres::database().await;
            let server = PgBouncer::start(&url, Pooler::Transaction, "").await;
            places.push((pooled, server.url(&url)));
            pooler = Some(server);
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_living-map"));
        let mut path = vec![binary.parent().expect("it is in a folder").to_owned()];
        if places.iter().any(|(place, _)| place.starts_with("postgres:")) {
            path.push(postgres::binary("pg_dump").parent().expect("it is in a folder").to_owned());
        }
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<PathBuf>>());
        let output = File::create(folder.path().join("output")).expect("a file can be made");
        let mut bash = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::join_paths(path).expect("folders can be joined"))
            .env("HOME", folder.path())
            .env("LANG", "C.UTF-8")
            .env("ROOT", root)
            .env("PORT", ports[0].to_string())
            .env("LEARNER_PORT", ports[1].to_string())
            .env("LIVING_MAP_URL", format!("http://127.0.0.1:{}", ports[0]))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            // so that all that it starts can be ended with it
            .process_group(0)
            .spawn()
            .expect("bash can be started");
        bash.stdin.as_mut().expect("it is piped").write_all(PRELUDE.as_bytes()).expect("bash reads");
        Self { bash, folder, places, blocks: 0, _nats: nats, _pooler: pooler }
    }

    /// Runs a block to its end; with `output`, until that is what was printed since its begin.
    pub async fn run(&mut self, commands: &str, fails: bool, output: Option<&str>) -> Result<(), String> {
        self.blocks += 1;
        let begin = self.printed().len();
        let (script, status) = (format!("block-{}", self.blocks), format!("status-{}", self.blocks));
        fs::write(self.folder.path().join(&script), self.placed(commands)).expect("a file can be written");
        // a file that is read as a whole, and no input: what it starts cannot eat the commands that follow
        let mut order =
            if fails { format!("set +e; . ./{script} </dev/null\n") } else { format!(". ./{script} </dev/null\n") };
        let _ = writeln!(order, "echo $? >{status}.new; set -e; mv {status}.new {status}");
        let stdin = self.bash.stdin.as_mut().expect("it is piped");
        // where the shell has ended, the wait below says so
        let _ = stdin.write_all(order.as_bytes());
        let status = self.folder.path().join(status);
        self.wait("the commands go on for too long", || status.exists()).await?;
        let failed = fs::read_to_string(&status).expect("it is there").trim() != "0";
        if failed != fails {
            return Err(if fails { "it should have failed".to_owned() } else { "the last command failed".to_owned() });
        }
        let Some(shown) = output.map(|output| self.placed(output)) else { return Ok(()) };
        let right = || is_as_shown(&shown, &self.printed()[begin..]);
        // what goes on in the background prints when it has something to say
        let waited = self.wait_quietly(right).await;
        if waited {
            Ok(())
        } else {
            Err(format!("it should have printed\n{shown}\nand printed\n{}", &self.printed()[begin..]))
        }
    }

    /// All that was printed, and the end of what the server had to say.
    pub fn told(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(30).collect();
        let log: Vec<&str> = lines.into_iter().rev().collect();
        format!("printed\n{}\n---- the server\n{}", self.printed(), log.join("\n"))
    }

    fn printed(&self) -> String {
        let bytes = fs::read(self.folder.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn placed(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (place, here)| text.replace(place, here))
    }

    async fn wait(&mut self, problem: &str, done: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            if self.bash.try_wait().is_ok_and(|ended| ended.is_some()) && !done() {
                return Err("a command failed".to_owned());
            }
            if Instant::now() > deadline {
                return Err(problem.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn wait_quietly(&self, done: impl Fn() -> bool) -> bool {
        const FOR_OUTPUT: Duration = Duration::from_secs(20);
        let deadline = Instant::now() + FOR_OUTPUT;
        while !done() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // the group id is the shell's process id, which cannot be reused before the shell is waited for
        let group = format!("kill -KILL -- -{}", self.bash.id());
        let _ = Command::new("/bin/sh").args(["-c", &group]).stderr(Stdio::null()).status();
        let _ = self.bash.wait();
    }
}
