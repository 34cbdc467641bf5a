//! Which snapshots.

use super::SnapshotInfo;
use crate::{Category, Fingerprint, StreamId, Timestamp};

/// Which snapshots to list or to drop: those that fulfil everything that is said here.
///
/// ```
/// use annals_core::{Category, Fingerprint, SelectSnapshots};
///
/// let of_older_builds = SelectSnapshots::all()
///     .category(Category::new("account")?)
///     .every_fold_but(Fingerprint::new("account.v7")?);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SelectSnapshots {
    /// Only those of this stream.
    pub stream: Option<StreamId>,
    /// Only those of streams of this category.
    pub category: Option<Category>,
    /// Only those of this fold.
    pub fold: Option<Fingerprint>,
    /// Only those of any other fold than this one.
    pub every_fold_but: Option<Fingerprint>,
    /// Only those taken before this moment.
    pub taken_before: Option<Timestamp>,
}

impl SelectSnapshots {
    /// Every snapshot.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of `stream`.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Only those of streams of `category`.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Only those of `fold`.
    #[must_use]
    pub fn fold(mut self, fold: Fingerprint) -> Self {
        self.fold = Some(fold);
        self
    }

    /// Only those of any other fold than `fold`: what nobody loads any more once every process
    /// folds with it.
    #[must_use]
    pub fn every_fold_but(mut self, fold: Fingerprint) -> Self {
        self.every_fold_but = Some(fold);
        self
    }

    /// Only those taken before `moment`.
    #[must_use]
    pub fn taken_before(mut self, moment: Timestamp) -> Self {
        self.taken_before = Some(moment);
        self
    }

    /// Whether nothing narrows the selection.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the snapshot is one of them.
    #[must_use]
    pub fn selects(&self, snapshot: &SnapshotInfo) -> bool {
        let SnapshotInfo { stream, fold, taken_at, .. } = snapshot;
        self.stream.as_ref().is_none_or(|wanted| stream == wanted)
            && self.category.as_ref().is_none_or(|wanted| stream.category() == *wanted)
            && self.fold.as_ref().is_none_or(|wanted| fold == wanted)
            && self.every_fold_but.as_ref().is_none_or(|unwanted| fold != unwanted)
            && self.taken_before.is_none_or(|moment| *taken_at < moment)
    }
}
