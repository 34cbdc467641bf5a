//! Waiting until a projection has come as far as a write.

use std::time::Duration;

use annals::{ConsistencyToken, Projections, WaitError};
use annals_core::{Position, SubscriberName};
use axum::http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::connection::stopped;
use crate::http::App;
use crate::params::Params;
use crate::problem::Refusal;

/// How far a projection is to come before the answer, and until when.
#[derive(Debug)]
pub(crate) struct Wait {
    position: Position,
    timeout: Duration,
}

impl Wait {
    /// What the client asks for: `annals-after` and `annals-wait` in the headers, or `wait_for`
    /// and `timeout` in the URL.
    pub(crate) fn wanted(
        app: &App,
        params: &mut Params,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Refusal> {
        let asked: [Option<String>; 2] = [params.one("wait_for")?, params.one("timeout")?];
        let shown = [
            header(headers, ConsistencyToken::HEADER)?,
            header(headers, ConsistencyToken::WAIT_HEADER)?,
        ];
        if asked.iter().any(Option::is_some) && shown.iter().any(Option::is_some) {
            return Err(Refusal::invalid(
                "send the headers annals-after and annals-wait, or the parameters wait_for and \
                 timeout, not both",
            ));
        }
        let [after, timeout] = if shown.iter().any(Option::is_some) { shown } else { asked };
        match (after, timeout) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Refusal::invalid("how long to wait is said, and not for which position"))
            }
            (Some(token), timeout) => {
                let token: ConsistencyToken = token
                    .parse()
                    .map_err(|error: annals::InvalidToken| Refusal::invalid(error.to_string()))?;
                let timeout = timeout.map(|text| within(app, &text)).transpose()?;
                let timeout = timeout.unwrap_or(app.options.wait_default);
                Ok(Some(Self { position: token.position(), timeout }))
            }
        }
    }

    /// Waits until the rows of all of these projections have come so far.
    pub(crate) async fn over(
        self,
        app: &App,
        projections: &Projections,
        names: &[SubscriberName],
    ) -> Result<(), Refusal> {
        let Ok(_slot) = app.waits.clone().try_acquire_owned() else {
            return Err(Refusal::busy(
                "too_many_waits",
                format!("waits_max = {} requests wait already; retry later", app.options.waits_max),
            ));
        };
        let deadline = Instant::now() + self.timeout;
        let mut stopping = app.stopping.clone();
        for name in names {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::select! {
                waited = projections.wait_for(name, self.position, left) => waited?,
                () = stopped(&mut stopping) => return Err(Refusal::stopping()),
            }
        }
        Ok(())
    }
}

fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().map(str::to_owned));
    match (value, values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        (Some(_), _) => Err(Refusal::invalid(format!("header {name}: send it once, in ASCII"))),
    }
}

/// A length of time, within what is allowed.
fn within(app: &App, text: &str) -> Result<Duration, Refusal> {
    let max = app.options.wait_max;
    let number = |text: &str| {
        text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let length = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => number(millis).map(Duration::from_millis),
        (None, Some(seconds)) => number(seconds).map(Duration::from_secs),
        (None, None) => None,
    };
    length.filter(|length| *length <= max).ok_or_else(|| {
        Refusal::invalid(format!(
            "how long to wait is written like 500ms or 5s, at most wait_max = {} s",
            max.as_secs()
        ))
    })
}

impl From<WaitError> for Refusal {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::ReadSide(error) => error.into(),
            WaitError::Failed { .. } => Self::new(
                StatusCode::CONFLICT,
                "projection_failed",
                "The projection has stopped",
                error.to_string(),
            ),
            _ => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "not_reached",
                "The projection has not come so far",
                error.to_string(),
            ),
        }
    }
}
