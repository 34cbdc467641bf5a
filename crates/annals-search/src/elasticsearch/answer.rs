//! What a cluster answers.

use annals_core::Fault;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::SearchError;

/// The most characters of a cluster's reason that are passed on.
const REASON_CHARS_MAX: usize = 500;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// What a cluster says when it does not do something.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(rename = "type")]
    pub(super) error_type: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<Refusal>>,
}

impl Refusal {
    /// In one line, not too long.
    pub(super) fn text(&self) -> String {
        let mut text = self.error_type.clone();
        let mut refusal = Some(self);
        while let Some(Refusal { reason, caused_by, .. }) = refusal {
            if let Some(reason) = reason {
                text.push_str(": ");
                text.push_str(reason);
            }
            refusal = caused_by.as_deref();
        }
        text.chars().take(REASON_CHARS_MAX).collect()
    }
}

impl Answer {
    /// Nothing more is wanted than that it was done.
    pub(super) fn done(&self, doing: &'static str) -> Result<(), SearchError> {
        if self.is_success() { Ok(()) } else { Err(SearchError::Unavailable(self.fault(doing))) }
    }

    /// What it says, if the cluster did what it was asked.
    pub(super) fn read<T: DeserializeOwned>(&self, doing: &'static str) -> Result<T, SearchError> {
        self.done(doing)?;
        self.parsed(doing).map_err(SearchError::Unavailable)
    }

    /// What it says.
    pub(super) fn parsed<T: DeserializeOwned>(&self, doing: &'static str) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| Fault::because(doing, error))
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether asking again may help: the cluster has no room, no time or no leader now.
    pub(super) fn is_passing(&self) -> bool {
        is_passing(self.status)
    }

    /// Whether this, by the engine's name for it, is what is wrong.
    pub(super) fn is_error(&self, error_type: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.error_type == error_type)
    }

    pub(super) fn fault(&self, doing: &'static str) -> Fault {
        let advice = match self.status {
            401 | 403 => "; check the credentials and what they allow",
            404 => "; create the index first",
            _ => "",
        };
        let reason = self.refusal().map(|refusal| format!(": {}", refusal.text()));
        let reason = reason.unwrap_or_default();
        Fault::new(format!("{doing}: the cluster answers {}{reason}{advice}", self.status))
    }

    fn refusal(&self) -> Option<Refusal> {
        #[derive(Deserialize)]
        struct Body {
            error: Refusal,
        }
        serde_json::from_slice::<Body>(&self.body).ok().map(|body| body.error)
    }
}

pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429) || status >= 500
}
