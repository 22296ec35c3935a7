//! Clusters in containers: Docker Compose on the files of `compose.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::children;
use crate::env::compose::Cluster;
use crate::env::config::join;
use crate::env::{facts, state};
use crate::workspace;

/// What Compose is called: a plugin of Docker's command line, or a program of its own.
const COMMANDS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
/// Starts a cluster, and waits until every broker is healthy: the files say what that is. Pulling images takes no time of it.
const UP: [&str; 5] = ["up", "-d", "--wait", "--wait-timeout", "150"];

/// A Docker Compose of this machine, or Docker itself.
pub(crate) struct Compose {
    words: Vec<PathBuf>,
}

impl Compose {
    /// Those found on this machine; this needs no engine yet.
    pub(crate) fn all() -> Vec<Compose> {
        COMMANDS.iter().filter_map(|words| Compose::called(words)).collect()
    }

    fn called(words: &[&str]) -> Option<Compose> {
        let compose = Compose { words: words.iter().map(PathBuf::from).collect() };
        let answers = compose.command(&["version"]).output().is_ok_and(|output| output.status.success());
        answers.then_some(compose)
    }

    /// In the root of the workspace, from which clusters name their files.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(args).current_dir(workspace::root()).stdin(Stdio::null());
        command
    }

    /// Whether the file is one that Compose takes. No engine is needed.
    #[cfg(test)]
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        self.quiet(file, &["config", "-q"]).map(drop)
    }

    /// Runs a command without showing it; the error is the last line of what it says.
    fn quiet(&self, file: &str, args: &[&str]) -> Result<String> {
        let output = self.command(&["-f", file]).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
        ensure!(output.status.success(), "{}", last.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn shown(&self, file: &str, args: &[&str]) -> Result<()> {
        let failed = format!("`compose {}` failed", args.join(" "));
        children::succeed(self.command(&["-f", file]).args(args), &failed)
    }
}

/// A cluster in containers, and what starts it.
pub(crate) struct Containers {
    cluster: &'static Cluster,
    compose: Compose,
    /// The program that knows the containers.
    docker: Compose,
}

impl Containers {
    /// Fails, in one line, where something is missing.
    pub(crate) fn of(cluster: &'static Cluster) -> Result<Containers> {
        Containers::by(cluster, Compose::all().into_iter().next())
    }

    fn by(cluster: &'static Cluster, compose: Option<Compose>) -> Result<Containers> {
        let name = cluster.name;
        let compose = compose.with_context(|| {
            format!(
                "{name} needs Docker Compose, and neither `docker compose` nor `docker-compose` is here; \
                 `cargo xtask env up kafka` and `cargo xtask env up fake` need no Docker"
            )
        })?;
        let containers = Containers { cluster, compose, docker: Compose { words: vec!["docker".into()] } };
        let engine = containers.running().map(drop);
        engine.with_context(|| format!("{name} needs Docker's engine, which does not answer"))?;
        Ok(containers)
    }

    /// Ids of its containers that exist.
    fn running(&self) -> Result<usize> {
        Ok(self.compose.quiet(self.cluster.file, &["ps", "-q"])?.lines().count())
    }

    /// Starts it and waits until it is usable; ends it if it does not become so.
    pub(crate) fn up(&self) -> Result<()> {
        let Cluster { name, file, .. } = self.cluster;
        if let Err(error) = self.compose.shown(file, &UP) {
            let _ = self.compose.shown(file, &["down", "--volumes"]);
            return Err(error.context(format!("{name} does not start: are its ports free?")));
        }
        say!("{name} is up; `cargo xtask env down {name}` ends it");
        self.print_connect()
    }

    /// Ends it, and removes its data.
    pub(crate) fn down(&self) -> Result<()> {
        let name = self.cluster.name;
        if self.running()? == 0 {
            say!("{name} does not run");
            return Ok(());
        }
        self.compose.shown(self.cluster.file, &["down", "--volumes"])?;
        say!("{name} is down");
        Ok(())
    }

    /// Says what runs and how to connect to it.
    pub(crate) fn status(&self) -> Result<()> {
        let name = self.cluster.name;
        if self.running()? == 0 {
            say!("{name} does not run; `cargo xtask env up {name}` starts it");
            return Ok(());
        }
        self.compose.shown(self.cluster.file, &["ps"])?;
        self.print_connect()
    }

    fn print_connect(&self) -> Result<()> {
        let mut test = "TEST_INTEGRATION=1 cargo test -p rskafka --test broker".to_owned();
        if self.cluster.name == "docker-kafka" {
            test += " -- --include-ignored";
            say!("{}={}", facts::VARIABLE, self.write_facts(&state::folder(self.cluster.name))?.display());
        }
        say!("KAFKA_CONNECT={}", self.cluster.connect);
        say!("with these variables set: {test}");
        Ok(())
    }

    /// Writes what tests are told: what is known beforehand, and of each container its process and its log.
    fn write_facts(&self, folder: &Path) -> Result<PathBuf> {
        let ids = self.compose.quiet(self.cluster.file, &["ps", "-q"])?;
        let mut docker = self.docker.command(&["inspect", "--format"]);
        docker.arg("{{.Name}} {{.State.Pid}} {{.LogPath}}").args(ids.lines());
        let output = docker.output().context("cannot run docker")?;
        ensure!(
            output.status.success(),
            "`docker inspect` fails: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8_lossy(&output.stdout);
        let mut containers: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
        containers.sort();
        let known = workspace::root().join("docker/kafka");
        let mut text = fs::read_to_string(known.join(facts::FILE))?;
        for path in ["certificates=", "console.consumer=", "console.producer="] {
            text = text.replace(path, &format!("{path}{}/", known.display()));
        }
        for (key, column) in [("broker.pids", 1), ("broker.logs", 2)] {
            let values = containers.iter().filter_map(|container| Some((*container.get(column)?).to_owned()));
            text += &format!("{key}={}\n", join(values));
        }
        fs::create_dir_all(folder)?;
        let file = folder.join(facts::FILE);
        fs::write(&file, text).map(|()| file).context("cannot write what tests are told")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::compose::CLUSTERS;

    /// A Compose that does what the script says, and its arguments as they came.
    fn scripted(name: &str, script: &str) -> (PathBuf, Compose) {
        let folder = std::env::temp_dir().join(format!("xtask-docker-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("compose.sh");
        std::fs::write(&program, format!("echo \"$@\" >> {}\n{script}\n", folder.join("asked").display()))
            .unwrap();
        (folder, Compose { words: vec!["sh".into(), program] })
    }

    fn asked(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("asked")).unwrap()
    }

    #[test]
    fn without_compose_one_line_says_what_is_missing() {
        assert!(Compose::called(&["no-such-program-as-this"]).is_none());
        let error = format!("{:#}", Containers::by(&CLUSTERS[0], None).err().unwrap());
        assert!(error.starts_with("docker-kafka needs Docker Compose, and neither"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn without_an_engine_one_line_says_so() {
        let (folder, compose) =
            scripted("engine", "echo 'trouble' >&2; echo 'Cannot connect to the daemon' >&2; exit 1");
        let error = format!("{:#}", Containers::by(&CLUSTERS[1], Some(compose)).err().unwrap());
        assert_eq!(
            error,
            "docker-redpanda needs Docker's engine, which does not answer: Cannot connect to the daemon"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_cluster_that_does_not_become_usable_is_ended() {
        let (folder, compose) = scripted("start", "case \"$3\" in up) exit 7;; esac");
        let containers = Containers::by(&CLUSTERS[0], Some(compose)).unwrap();
        let error = format!("{:#}", containers.up().unwrap_err());
        assert!(error.starts_with("docker-kafka does not start: are its ports free"), "{error}");
        let asked = asked(&folder);
        let commands: Vec<&str> = asked.lines().map(|line| line.split_once(".yml ").unwrap().1).collect();
        assert_eq!(commands, ["ps -q", &UP.join(" "), "down --volumes"]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn tests_are_told_of_processes_and_logs_in_the_order_of_the_brokers() {
        let (folder, compose) = scripted("facts", "case \"$3\" in ps) echo 0; echo 1;; esac");
        let mut containers = Containers::by(&CLUSTERS[0], Some(compose)).unwrap();
        let answers = "echo /docker-kafka-2-1 22 /log/2; echo /docker-kafka-1-1 11 /log/1";
        containers.docker = Compose { words: ["sh", "-c", answers].map(PathBuf::from).to_vec() };
        let text = std::fs::read_to_string(containers.write_facts(&folder).unwrap()).unwrap();
        assert!(text.ends_with("\nbroker.pids=11,22\nbroker.logs=/log/1,/log/2\n"), "{text}");
        let certificates = text.lines().find_map(|line| line.strip_prefix("certificates=")).unwrap();
        assert!(Path::new(certificates).join("ca.pem").is_file(), "{certificates}");
        assert!(text.contains("\nlistener.SSL=localhost:9194,"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn down_removes_the_data_of_what_runs() {
        let (folder, compose) = scripted("down", "case \"$3\" in ps) echo 0123;; esac");
        let containers = Containers::by(&CLUSTERS[0], Some(compose)).unwrap();
        containers.down().unwrap();
        assert!(asked(&folder).ends_with("docker-compose-kafka.yml down --volumes\n"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
