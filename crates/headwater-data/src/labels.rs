//! Labels that several sets share.

/// The part of a set that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// For training.
    Train,
    /// For choosing between models.
    Dev,
    /// For measuring, once.
    Test,
}

/// Which of two answers is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Better {
    /// The first, where a set names them by letter: A.
    First,
    /// The second, where a set names them by letter: B.
    Second,
}
