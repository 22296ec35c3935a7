//! What Linux's `/proc` says of a process or a thread. xtask has this file, too.

/// Of its `stat` file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    /// The process group.
    pub(crate) group: i32,
    /// From which the process is known, although its id may be used again.
    pub(crate) start_time: u64,
}

impl Stat {
    /// `None` if there is no such process or thread.
    pub(crate) fn of(file: impl AsRef<std::path::Path>) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(file).ok()?)
    }

    /// proc(5): the command name (field 2) may hold blanks and brackets, so fields count from behind the last `)`:
    /// state is field 3, pgrp field 5, starttime field 22.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            state: field(3)?.chars().next()?,
            group: field(5)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_command_with_brackets_and_blanks_is_read() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 8192 1";
        assert_eq!(Stat::parse(stat), Some(Stat { state: 'S', group: 7, start_time: 4711 }));
    }
}
