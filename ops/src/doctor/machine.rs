//! This machine: disk and memory.

use std::fs;

use super::{Args, Check};

pub(super) fn look(args: &Args) -> Vec<Check> {
    vec![disk(args), memory(args)]
}

fn disk(args: &Args) -> Check {
    let folder = args.folder.display();
    match rustix::fs::statvfs(&args.folder) {
        Ok(disk) => {
            let free_mb = disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000;
            let found = format!("{free_mb} MB free below {folder}, {} wanted", args.disk_mb);
            if free_mb >= args.disk_mb {
                Check::good("disk", found)
            } else {
                Check::bad(
                    "disk",
                    found,
                    format!("df -h {folder}; du -xh --max-depth=2 {folder} | sort -h | tail, and delete or move what is large"),
                )
            }
        }
        Err(error) => Check::bad("disk", format!("look at {folder}: {error}"), "ops doctor --folder FOLDER"),
    }
}

fn memory(args: &Args) -> Check {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_mb(&text));
    match available {
        Some(mb) => {
            let found = format!("{mb} MB available, {} wanted", args.memory_mb);
            if mb >= args.memory_mb {
                Check::good("memory", found)
            } else {
                Check::bad("memory", found, "ps aux --sort=-rss | head, and end what is not needed; ./run --kafka-heap-mb 400 takes less")
            }
        }
        None => {
            Check { check: "memory".to_owned(), ok: None, found: "/proc/meminfo does not say".to_owned(), mend: None, unreachable: false }
        }
    }
}

fn available_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kb: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kb.saturating_mul(1_024) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_megabytes() {
        assert_eq!(available_mb("MemTotal: 1 kB\nMemAvailable:   2000000 kB\n"), Some(2_048));
        assert_eq!(available_mb("MemTotal: 1 kB\n"), None);
    }
}
