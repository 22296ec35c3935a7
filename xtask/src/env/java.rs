//! Java and Maven: whether they are here, and the jars of one Kafka version.
//!
//! Invariant: a version's `libs` folder is complete or absent, because it is filled under another name and renamed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::children;
use crate::env::version::{TRIED, Version};
use crate::progress::Step;
use crate::workspace;

const HOW_TO_GET: &str =
    "to get both: apt-get install openjdk-17-jre-headless maven, or what your system has instead";
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Small heaps, a collector without threads and the quick compiler: 160 MiB and about 3 s for a broker.
const JVM_FLAGS: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A Java that can run one version of Kafka.
pub(crate) struct Java {
    program: OsString,
    libs: PathBuf,
    logging: String,
}

impl Java {
    /// Finds Java and Maven, and fetches the jars if they are not here yet.
    pub(crate) fn for_kafka(version: &Version) -> Result<Java> {
        let program = find(version)?;
        let folder = workspace::target_dir().join("kafka").join(version.to_string());
        let libs = jars(version, &folder)?;
        let (file, text, property) = if version.logs_with_log4j2() {
            ("log4j2.properties", include_str!("log4j2.properties"), "log4j2.configurationFile=")
        } else {
            ("log4j.properties", include_str!("log4j.properties"), "log4j.configuration=file:")
        };
        fs::write(folder.join(file), text)?;
        Ok(Java { program, libs, logging: format!("-D{property}{}", folder.join(file).display()) })
    }

    /// `java` with a main class of Kafka, or without one; its log goes to standard error.
    pub(crate) fn command(&self, heap_mib: u32, log_level: &str, main_class: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).arg(format!("-Xmx{heap_mib}m")).args(JVM_FLAGS);
        command.arg(&self.logging).arg(format!("-Dlog.level={log_level}"));
        command.arg("-cp").arg(self.libs.join("*")).args(main_class);
        command
    }
}

/// Says what is missing, if Kafka's newest version cannot run here.
pub(crate) fn check(version: &Version) -> Result<()> {
    find(version)?;
    maven_is_here()
}

fn find(version: &Version) -> Result<OsString> {
    let program = match std::env::var_os("JAVA_HOME") {
        Some(home) => Path::new(&home).join("bin/java").into_os_string(),
        None => "java".into(),
    };
    let output = Command::new(&program).arg("-version").stdin(Stdio::null()).output().map_err(|error| {
        anyhow!(
            "no Java: {} cannot be run ({error}); Kafka runs on Java and comes through Maven: {HOW_TO_GET}",
            program.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = java_version(&text)
        .with_context(|| format!("`{} -version` answered: {text}{HOW_TO_GET}", program.display()))?;
    let needed = version.oldest_java();
    ensure!(
        found >= needed,
        "Java {found} is too old: Kafka {version} needs Java {needed} or newer; set JAVA_HOME to one, or {HOW_TO_GET}"
    );
    Ok(program)
}

/// The major version in the answer of `java -version`.
fn java_version(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    let mut numbers = quoted.split(['.', '-', '+', '_']).map(|part| part.parse().ok());
    match numbers.next()?? {
        1 => numbers.next()?,
        major => Some(major),
    }
}

fn maven_is_here() -> Result<()> {
    // Its output is taken, as it clears colours on standard error.
    match Command::new("mvn").arg("--version").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("`mvn --version` failed ({}); {HOW_TO_GET}", output.status),
        Err(error) => {
            bail!("no Maven: mvn cannot be run ({error}); the jars of Kafka come through it: {HOW_TO_GET}")
        }
    }
}

fn jars(version: &Version, folder: &Path) -> Result<PathBuf> {
    let libs = folder.join("libs");
    let pom = pom(version);
    // A pom that changed makes the jars stale.
    if libs.is_dir() && fs::read_to_string(folder.join("pom.xml")).is_ok_and(|known| known == pom) {
        return Ok(libs);
    }
    maven_is_here()?;
    let step = Step::start(format!("fetching the jars of Kafka {version} through Maven"));
    let partial = folder.join(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial)?;
    fs::write(partial.join("pom.xml"), &pom)?;
    fetch(version, &partial).inspect_err(|_| {
        let _ = fs::remove_dir_all(&partial);
    })?;

    let _ = fs::remove_dir_all(&libs);
    fs::rename(partial.join("libs"), &libs)?;
    fs::rename(partial.join("pom.xml"), folder.join("pom.xml"))?;
    fs::remove_dir_all(&partial)?;
    step.done();
    Ok(libs)
}

fn pom(version: &Version) -> String {
    let [group, artifact, binding] = version.logging_binding();
    include_str!("pom.xml")
        .replace("@KAFKA@", &version.to_string())
        .replace("@BINDING_GROUP@", group)
        .replace("@BINDING@", artifact)
        .replace("@BINDING_VERSION@", binding)
}

fn fetch(version: &Version, partial: &Path) -> Result<()> {
    let mut mvn = Command::new("mvn");
    mvn.current_dir(partial);
    mvn.args(["--batch-mode", COPY_DEPENDENCIES, "-DoutputDirectory=libs", "-DincludeScope=runtime"]);
    let (status, output) = children::run_logged(&mut mvn, &partial.join("mvn.log"), children::NO_LIMIT)?;
    ensure!(status.success(), "{}", why_not_fetched(version, &output));
    Ok(())
}

/// One line from what Maven printed.
fn why_not_fetched(version: &Version, output: &str) -> String {
    let artifact = format!("org.apache.kafka:kafka_2.13:jar:{version}");
    // The second is what it says the next time, from memory.
    let is_unknown =
        |line: &str| line.contains("Could not find artifact") || line.contains("was not found in");
    if output.lines().any(|line| line.contains(&artifact) && is_unknown(line)) {
        let known = TRIED.join(", ");
        return format!(
            "there is no Kafka {version} in Maven's repository; tried with these commands: {known}"
        );
    }
    let said = |line: &&str| line.contains("[ERROR]") && !line.contains("[Help");
    let error = output.lines().find(said).unwrap_or("it printed no error");
    format!(
        "Maven could not fetch the jars of Kafka {version}; is its repository reachable? {}",
        error.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_java_is_found_in_old_and_new_numbering() {
        assert_eq!(java_version("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(java_version("openjdk version \"25\" 2025-09-16\n"), Some(25));
        assert_eq!(java_version("openjdk version \"26-ea\" 2026-03-17\n"), Some(26));
        assert_eq!(java_version("java version \"1.8.0_402\"\n"), Some(8));
        assert_eq!(java_version("command not found"), None);
    }

    #[test]
    fn a_version_that_maven_does_not_know_is_named_in_one_line_with_those_that_work() {
        let version = "9.9.9".parse().unwrap();
        let output = "[INFO] Scanning\n[ERROR] Failed to execute goal on project jars: Could not find artifact \
                      org.apache.kafka:kafka_2.13:jar:9.9.9 in central (https://host) -> [Help 1]\n[ERROR] more\n";
        let why = why_not_fetched(&version, output);
        assert!(why.starts_with("there is no Kafka 9.9.9 in Maven's repository"), "{why}");
        assert!(why.contains(TRIED[0]) && why.lines().count() == 1, "{why}");
        let again =
            output.replace("Could not find artifact ", "").replace(" in central", " was not found in");
        assert_eq!(why_not_fetched(&version, &again), why);
        let why = why_not_fetched(&version, "[ERROR] Unknown host repo\n[ERROR] more\n");
        assert!(why.ends_with("is its repository reachable? [ERROR] Unknown host repo"), "{why}");
    }

    #[test]
    fn the_pom_is_filled_in() {
        for version in ["2.8.2", "3.9.1", "4.4.0"] {
            let pom = pom(&version.parse().unwrap());
            assert!(pom.contains(&format!("<version>{version}</version>")));
            assert_eq!(pom.matches('@').count(), 2, "only those of the comment are left: {pom}");
        }
    }
}
