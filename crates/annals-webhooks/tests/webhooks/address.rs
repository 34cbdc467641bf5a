//! Where messages do not go.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::ReactErrorKind;
use annals_webhooks::{NewWebhook, Reach, Resolve, WebhooksError};

use crate::world::{Receiver, World};

/// Answers each time with the next of these, and with the last one for ever.
#[derive(Clone, Debug)]
struct Turns {
    answers: Vec<Vec<IpAddr>>,
    asked: Arc<AtomicUsize>,
}

impl Turns {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().expect("an ip")).collect();
        Self { answers: answers.iter().map(parse).collect(), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Resolve for Turns {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_when_it_is_registered() {
    let world = World::with(|options| options.reach(Reach::public()));
    for url in ["https://127.0.0.1/", "https://2130706433/", "https://[::ffff:10.0.0.1]/"] {
        let error = world.webhooks.register(NewWebhook::to(url)).await.unwrap_err();
        assert!(matches!(error, WebhooksError::Endpoint(_)), "{url}: {error}");
    }
    assert!(world.webhooks.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_when_it_is_called() {
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    for answer in [&["127.0.0.1"][..], &["::ffff:127.0.0.1"], &["8.8.8.8", "127.0.0.1"]] {
        let resolver = Turns::new(&[answer]);
        let reach = Reach::public().allowing_http();
        let world = World::with(|options| options.reach(reach).resolver(resolver));
        let crm = world.register(&format!("http://crm.example:{port}/")).await;
        let event = world.deposit().await;
        let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
        assert_eq!(error.kind(), ReactErrorKind::Permanent, "{answer:?}");
        assert!(error.source().to_string().contains("the machine itself"), "{}", error.source());
    }
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    // A second look would find the receiver on an address that is not allowed.
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    let allowed = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
    let resolver = Turns::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let world = World::with(|options| {
        let reach = Reach::public().allowing("127.0.0.2".parse().unwrap()).allowing_http();
        options.reach(reach).resolver(resolver.clone())
    });
    let crm = world.register(&format!("http://crm.example:{port}/")).await;
    let event = world.deposit().await;

    let took = std::thread::spawn(move || allowed.accept().map(|(_, from)| from));
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient, "it was connected and then left alone");
    took.join().unwrap().unwrap();
    assert_eq!((resolver.asked(), receiver.got().len()), (1, 0));

    let error = world.attempt(&crm.id, &event, 2).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Permanent, "the second answer is checked as well");
    assert_eq!((resolver.asked(), receiver.got().len()), (2, 0));
}

#[tokio::test]
async fn a_host_without_an_address_is_tried_again() {
    let reach = Reach::public();
    let world = World::with(|options| options.reach(reach).resolver(Turns::new(&[&[]])));
    let crm = world.register("https://crm.example/").await;
    let event = world.deposit().await;
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
}
