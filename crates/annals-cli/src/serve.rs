//! `annals serve`: a store over HTTP.

use std::net::SocketAddr;
use std::path::Path;

use annals_server::{Options, Token, serve};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::args;
use crate::failure::Failure;
use crate::location::{Location, OpenedReadSide};
use crate::output::{Output, note, shown};
use crate::signal;

/// The environment variable that holds the token.
const TOKEN_VARIABLE: &str = "ANNALS_TOKEN";

pub(crate) async fn run(args: args::Serve, mut output: Output) -> Result<(), Failure> {
    let mut options = Options::default();
    options.token = token(args.token_file.as_deref())?;
    if options.token.is_none() && !args.listen.ip().is_loopback() {
        return Err(Failure::invalid(format!(
            "other machines can reach {}, so a token is needed; give --token-file or set \
             {TOKEN_VARIABLE}, or listen on 127.0.0.1",
            args.listen
        )));
    }
    let listener = listen(args.listen).await?;
    let opened = args.store.location.open_or_create().await?;
    let named = args.read_side.location.as_ref();
    let read_side = Location::open_read_side_to_serve(&args.store.location, named).await?;
    options.read_side = read_side.as_ref().map(OpenedReadSide::queue);
    let started = Started::new(&listener, &args.store.location.to_string())?;
    announce(&started, options.token.is_some(), &mut output)?;
    serve(listener, opened.store(), options, signal::stop())
        .await
        .map_err(|error| Failure::because("serving", &error))?;
    if let Some(read_side) = read_side {
        read_side.close().await;
    }
    opened.close().await;
    note("stopped; everything acknowledged is stored");
    Ok(())
}

/// What is told once the server listens.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) store: String,
}

impl Started {
    pub(crate) fn new(listener: &TcpListener, store: &str) -> Result<Self, Failure> {
        let address = listener
            .local_addr()
            .map_err(|error| Failure::because("asking for the port", &error))?;
        Ok(Self { url: format!("http://{address}"), address, store: store.to_owned() })
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = "; choose another with --listen, port 0 takes a free one";
        Failure::because(format!("listening on {address}{hint}"), &error)
    })
}

fn announce(started: &Started, needs_token: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(started)?;
        return output.flush();
    }
    let url = &started.url;
    let token = if needs_token { " -H \"authorization: bearer $ANNALS_TOKEN\"" } else { "" };
    output.line(&format!(
        "Annals serves {} at {url}/\n\n  \
         curl{token} {url}/v1/streams/account-1 -H content-type:application/json \\\n    \
         -d '{{\"type\":\"MoneyDeposited\",\"data\":{{\"amount\":100}}}}'\n  \
         curl{token} {url}/v1/streams/account-1\n  \
         curl{token} -N {url}/v1/tail\n\n\
         Ctrl-C stops it.",
        shown(&started.store)
    ))?;
    output.flush()
}

/// The token of the file, or of the environment. It is never an argument, because every user
/// of a machine can see those.
fn token(file: Option<&Path>) -> Result<Option<Token>, Failure> {
    let (place, secret) = match (file, std::env::var(TOKEN_VARIABLE)) {
        (Some(file), _) => {
            let place = format!("--token-file {}", file.display());
            let secret =
                std::fs::read_to_string(file).map_err(|error| Failure::because(&place, &error))?;
            (place, secret)
        }
        (None, Ok(secret)) => (TOKEN_VARIABLE.to_owned(), secret),
        (None, Err(std::env::VarError::NotPresent)) => return Ok(None),
        (None, Err(error)) => return Err(Failure::because(TOKEN_VARIABLE, &error)),
    };
    Token::new(&secret).map(Some).map_err(|error| Failure::invalid(format!("{place}: {error}")))
}
