//! Secrets in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::secrets::{Secrets, SecretsError};
use crate::signature::Secret;
use crate::webhook::{KeyId, WebhookId};

/// Secrets in a JSON file, which is made when the first one is kept, readable by its owner only
/// (0600 on Unix; a file that others can read is refused). Each change replaces it as a whole, so
/// that it is never half written. Several processes of one machine may use the same file.
///
/// ```json
/// { "secrets": { "crm": { "018f…": "whsec_…" } } }
/// ```
#[derive(Clone, Debug)]
pub struct FileSecrets {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    secrets: BTreeMap<WebhookId, BTreeMap<KeyId, Zeroizing<String>>>,
}

impl FileSecrets {
    /// Keeps them in this file. Its directory must exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    async fn off_the_runtime<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SecretsError> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        let failed =
            |source| SecretsError::because(format!("{doing} {}", self.path.display()), source);
        done.map_err(|panic| failed(io::Error::other(panic)))?.map_err(failed)
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut Content) + Send + 'static,
    ) -> Result<(), SecretsError> {
        let work = |path: &Path| {
            let lock = options().open(path.with_extension("lock"))?;
            lock.lock()?;
            let mut content = read(path)?;
            change(&mut content);
            replace(path, &content)
        };
        self.off_the_runtime("writing the secrets to", work).await
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn get(&self, webhook: &WebhookId, key: &KeyId) -> Result<Option<Secret>, SecretsError> {
        let (webhook, key) = (webhook.clone(), key.clone());
        let work = move |path: &Path| {
            let content = read(path)?;
            let text = content.secrets.get(&webhook).and_then(|keys| keys.get(&key));
            text.map(|text| text.parse::<Secret>().map_err(io::Error::other)).transpose()
        };
        self.off_the_runtime("reading the secrets in", work).await
    }

    async fn put(
        &self,
        webhook: &WebhookId,
        key: &KeyId,
        secret: &Secret,
    ) -> Result<(), SecretsError> {
        let (webhook, key, text) = (webhook.clone(), key.clone(), secret.reveal());
        self.change(move |content| {
            content.secrets.entry(webhook).or_default().insert(key, text);
        })
        .await
    }

    async fn remove(&self, webhook: &WebhookId, key: &KeyId) -> Result<(), SecretsError> {
        let (webhook, key) = (webhook.clone(), key.clone());
        self.change(move |content| {
            if let Some(keys) = content.secrets.get_mut(&webhook) {
                keys.remove(&key);
            }
            content.secrets.retain(|_, keys| !keys.is_empty());
        })
        .await
    }
}

fn read(path: &Path) -> io::Result<Content> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        opened => opened?,
    };
    refuse_if_others_can_read(&file)?;
    let text = Zeroizing::new(io::read_to_string(file)?);
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

/// Where it cannot be read, and not what stands there: that may be a secret.
fn unreadable(error: &serde_json::Error) -> io::Error {
    let what = match error.classify() {
        Category::Io => "its bytes",
        Category::Syntax => "the syntax",
        Category::Data => "the data",
        Category::Eof => "the end",
    };
    let (line, column) = (error.line(), error.column());
    let message = format!("{what} at line {line}, column {column} cannot be read; mend it there");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn replace(path: &Path, content: &Content) -> io::Result<()> {
    let text = Zeroizing::new(serde_json::to_vec_pretty(content)?);
    let new = path.with_extension("new");
    // One that was left by a crash may have the rights of anybody.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options().create_new(true).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The new name must be on the disk as well before an event relies on it.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if cfg!(unix) { File::open(directory.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

/// To write files that only their owner can read.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn refuse_if_others_can_read(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("others can read it (its mode is {mode:o}); run `chmod 600` on it");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(not(unix))]
fn refuse_if_others_can_read(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::error::Error;
    use std::os::unix::fs::PermissionsExt;

    use annals::EventId;

    use super::*;

    fn key(number: u8) -> KeyId {
        EventId::from_bytes([number; 16]).into()
    }

    #[tokio::test]
    async fn secrets_are_kept_in_a_file_of_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let webhook: WebhookId = "crm".parse().unwrap();
        let (first, second) = (Secret::generate().unwrap(), Secret::generate().unwrap());

        let secrets = FileSecrets::new(&path);
        assert!(secrets.get(&webhook, &key(1)).await.unwrap().is_none());
        secrets.put(&webhook, &key(1), &first).await.unwrap();
        secrets.put(&webhook, &key(2), &second).await.unwrap();

        let again = FileSecrets::new(&path);
        let got = again.get(&webhook, &key(1)).await.unwrap().unwrap();
        assert_eq!(*got.reveal(), *first.reveal());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        again.remove(&webhook, &key(1)).await.unwrap();
        again.remove(&webhook, &key(1)).await.unwrap();
        assert!(secrets.get(&webhook, &key(1)).await.unwrap().is_none());
        assert!(secrets.get(&webhook, &key(2)).await.unwrap().is_some());
        assert!(!fs::read_to_string(&path).unwrap().contains(&**first.reveal()));
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        fs::write(&path, r#"{"secrets":{}}"#).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let webhook: WebhookId = "crm".parse().unwrap();
        let error = FileSecrets::new(&path).get(&webhook, &key(1)).await.unwrap_err();
        assert!(error.source().unwrap().to_string().contains("chmod 600"));
    }

    #[tokio::test]
    async fn an_error_in_the_file_says_where_and_not_what() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let webhook: WebhookId = "crm".parse().unwrap();
        let secrets = FileSecrets::new(&path);
        for (text, place) in [
            ("{ \"secrets\":\n \"whsec_c2VjcmV0\" }", "data at line 2, column 17"),
            ("{ \"secrets\": { \"crm\": \"whsec_c2VjcmV0\" } }", "data at line 1, column"),
            ("{ \"secrets\": { whsec_c2VjcmV0", "syntax at line 1, column 16"),
            ("{ \"secrets\": { \"crm\": ", "end at line 1, column"),
        ] {
            options().truncate(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
            let error = secrets.get(&webhook, &key(1)).await.unwrap_err();
            let reason = error.source().unwrap().to_string();
            assert!(reason.contains(place) && reason.contains("mend it"), "{reason}");
            let whole = format!("{error:?} {error} {}", crate::webhooks::chain(&error));
            assert!(!whole.contains("whsec_") && !whole.contains("c2V"), "{whole}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_at_the_same_time_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = FileSecrets::new(directory.path().join("secrets.json"));
        let webhook: WebhookId = "crm".parse().unwrap();
        let secret = Secret::generate().unwrap();
        let keys = (0..16).map(key);
        let puts = keys.clone().map(|key| {
            let (secrets, webhook, secret) = (secrets.clone(), webhook.clone(), secret.clone());
            tokio::spawn(async move { secrets.put(&webhook, &key, &secret).await.unwrap() })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap();
        }
        for key in keys {
            assert!(secrets.get(&webhook, &key).await.unwrap().is_some(), "{key}");
        }
    }
}
