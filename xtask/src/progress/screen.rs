//! Standard error: lines that stay, and on a terminal a block below them that is drawn again in its
//! place.

use std::io::Write;

use console::Term;

/// Where progress is shown.
pub(crate) struct Screen {
    /// `None` where standard error is no terminal, or one whose cursor does not move: then there
    /// is no block.
    terminal: Option<Term>,
    /// Characters of each line of the block that is shown now.
    drawn: Vec<usize>,
}

impl Screen {
    pub(crate) fn of_stderr() -> Self {
        let terminal = Term::buffered_stderr();
        let can_move = terminal.is_term() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self { terminal: can_move.then_some(terminal), drawn: Vec::new() }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// True on a terminal with colours, unless the environment says `NO_COLOR`.
    pub(crate) fn has_colours(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.features().colors_supported())
    }

    /// Rows and columns; `None` where lines may be as long as they like.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let (rows, columns) = self.terminal.as_ref()?.size();
        Some((rows.into(), columns.into()))
    }

    /// Writes `lines` for good, and on a terminal `block` below them in place of the block before.
    pub(crate) fn show(&mut self, lines: &[String], block: &[String]) {
        // Nothing to be done where standard error is closed: the run goes on without being watched.
        let _ = self.write(lines, block);
    }

    fn write(&mut self, lines: &[String], block: &[String]) -> std::io::Result<()> {
        let Some(terminal) = &self.terminal else {
            let mut text = lines.join("\n");
            if !lines.is_empty() {
                text.push('\n');
            }
            return std::io::stderr().lock().write_all(text.as_bytes());
        };
        let columns = usize::from(terminal.size().1);
        if !self.drawn.is_empty() {
            terminal.move_cursor_up(rows_taken(&self.drawn, columns))?;
            terminal.clear_to_end_of_screen()?;
        }
        for line in lines.iter().chain(block) {
            terminal.write_line(line)?;
        }
        self.drawn = block.iter().map(|line| line.chars().count()).collect();
        terminal.flush()
    }
}

/// Rows that lines of these lengths take up: more than one each where the terminal became narrower
/// meanwhile.
fn rows_taken(lengths: &[usize], columns: usize) -> usize {
    lengths.iter().map(|length| length.div_ceil(columns.max(1)).max(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_more_rows_once_the_terminal_is_narrower() {
        assert_eq!(rows_taken(&[79, 0, 20], 80), 3);
        assert_eq!(rows_taken(&[79, 0, 20], 40), 4);
        assert_eq!(rows_taken(&[80, 40], 40), 3, "a full row does not begin another one");
        assert_eq!(rows_taken(&[], 80), 0);
        assert_eq!(rows_taken(&[3], 0), 3);
    }
}
