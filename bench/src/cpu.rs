//! CPU and memory of every part on this machine, from `/proc`, by what each process is.
//!
//! Several stacks on one machine are added together: take figures with one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Length of a tick in `/proc/<pid>/stat`: `USER_HZ` is 100 in the Linux user interface whatever the kernel is built with.
const TICK: Duration = Duration::from_millis(10);
/// Our own processes, by the name of their program.
const OURS: [&str; 4] = ["api-gateway", "inventory-service", "order-service", "payment-service"];

/// CPU time and memory of all processes of interest at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    processes: HashMap<u32, Process>,
}

#[derive(Debug, Clone)]
struct Process {
    part: &'static str,
    ticks: u64,
    resident_kib: u64,
}

/// What one part used between two samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// Which part.
    pub part: String,
    /// How many processes it has.
    pub processes: usize,
    /// CPU time used.
    #[serde(skip)]
    pub cpu: Duration,
    /// The same as a share of one core.
    pub cores: f64,
    /// Resident memory at the end without shared memory, MiB: PostgreSQL's buffers would count in each of its processes.
    pub resident_mib: f64,
}

impl Sample {
    /// Looks at all processes now. Empty where there is no `/proc`, or when the system runs in containers.
    #[must_use]
    pub fn take() -> Self {
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A process may end while it is looked at: then it is left out.
            if let Some(pid) = pid
                && let Some(process) = look(&entry.path())
            {
                processes.insert(pid, process);
            }
        }
        Self { at: Instant::now(), processes }
    }

    /// A look that saw nothing.
    #[must_use]
    pub fn blind() -> Self {
        Self { at: Instant::now(), processes: HashMap::new() }
    }

    /// What each part used since `earlier`, by name. A process that started in between counts whole, one that ended not at all.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<Usage> {
        let elapsed = self.at.saturating_duration_since(earlier.at).as_secs_f64().max(f64::EPSILON);
        let mut parts: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
        for (pid, process) in &self.processes {
            let before = earlier.processes.get(pid).map_or(0, |process| process.ticks);
            let (processes, ticks, resident_kib) = parts.entry(process.part).or_default();
            *processes += 1;
            *ticks += process.ticks.saturating_sub(before);
            *resident_kib += process.resident_kib;
        }
        parts
            .into_iter()
            .map(|(part, (processes, ticks, resident_kib))| {
                let cpu = TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
                let resident_mib = f64::from(u32::try_from(resident_kib).unwrap_or(u32::MAX)) / 1024.0;
                Usage { part: part.to_owned(), processes, cpu, cores: cpu.as_secs_f64() / elapsed, resident_mib }
            })
            .collect()
    }
}

fn look(folder: &Path) -> Option<Process> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (name, ticks) = name_and_ticks(&stat)?;
    // Reading the command line of every process costs more than its name: only Java's needs it.
    let command = if name == "java" { fs::read(folder.join("cmdline")).ok()? } else { Vec::new() };
    let part = part(name, &String::from_utf8_lossy(&command))?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let kib = |name| status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Some(Process { part, ticks, resident_kib: kib("VmRSS:")?.saturating_sub(kib("RssShmem:").unwrap_or(0)) })
}

/// Program name (at most 15 characters) and user plus system ticks of a `/proc/<pid>/stat`. The name may hold spaces and brackets.
fn name_and_ticks(stat: &str) -> Option<(&str, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, user + system))
}

fn part(name: &str, command: &str) -> Option<&'static str> {
    if name == "java" {
        return if command.contains("kafka.Kafka") {
            Some("kafka")
        } else if command.contains("apicurio") || command.contains("quarkus") {
            Some("registry")
        } else {
            None
        };
    }
    if name == "postgres" {
        return Some("postgresql");
    }
    if name == "bench" {
        return Some("bench");
    }
    // The kernel cuts names at 15 characters: `inventory-servi`.
    OURS.into_iter().find(|ours| ours.get(..15).unwrap_or(ours) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 700 55 0 0 20 0 1 0 100 1 1 1";
        assert_eq!(name_and_ticks(stat), Some(("a (b) c", 755)));
        assert_eq!(name_and_ticks("42"), None);
    }

    #[test]
    fn processes_are_told_by_name_and_java_by_command() {
        assert_eq!(part("java", "java\0-Xmx512m\0kafka.Kafka\0x"), Some("kafka"));
        assert_eq!(part("java", "java\0-jar\0apicurio-registry-app-runner.jar"), Some("registry"));
        assert_eq!(part("java", "java\0Main"), None);
        assert_eq!(part("inventory-servi", ""), Some("inventory-service"));
        assert_eq!(part("order-service", ""), Some("order-service"));
        assert_eq!(part("bash", ""), None);
    }

    #[test]
    fn usage_is_the_difference_of_two_samples() {
        let process = |ticks| Process { part: "kafka", ticks, resident_kib: 2048 };
        let at = Instant::now();
        let earlier = Sample { at, processes: HashMap::from([(1, process(100))]) };
        let later = Sample { at: at + Duration::from_secs(2), processes: HashMap::from([(1, process(200)), (2, process(50))]) };
        let usage = later.since(&earlier);
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].processes, usage[0].cpu), (2, Duration::from_millis(1_500)));
        assert!((usage[0].cores - 0.75).abs() < 1e-9 && (usage[0].resident_mib - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_kernels_own_lines_are_read() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (name, _) = name_and_ticks(&stat).unwrap();
        assert!(name.starts_with("bench"), "{name}");
        // A test program is nobody's part.
        assert!(look(Path::new("/proc/self")).is_none());
    }
}
