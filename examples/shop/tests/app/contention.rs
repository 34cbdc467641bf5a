//! Many who want the same at the same moment.

use futures_util::future::join_all;
use serde_json::json;
use shop::shop::Shop;
use shop::storm::storm;

use crate::client::order;
use crate::served::Served;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_on_one_item_agrees_with_its_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let shop = Shop::in_file(&directory.path().join("shop.db")).expect("the file opens");
    let stormed = storm(&shop, 64).await.expect("every command has an answer");
    assert!(stormed.faults.is_empty(), "{stormed}");
    assert_eq!(stormed.restocked, 128);
    assert_eq!(stormed.taken + stormed.refused, 128);
    assert_eq!(stormed.log.successes, stormed.restocked + stormed.taken);
    assert!(stormed.taken > 0 && stormed.log.lowest >= 0, "{stormed}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_orders_at_once_ten_get_the_ten_there_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::in_file(&directory).await;
    let client = served.client.actor("ada");
    // In different orders, and none waits for another.
    client.stock("TEA", 450, 100).await;
    client.stock("POT", 3_500, 10).await;
    let ways = [[("TEA", 2, 450), ("POT", 1, 3_500)], [("POT", 1, 3_500), ("TEA", 2, 450)]];
    let orders = ways.map(|items| order(&items));
    let answers = join_all((0..40).map(|n| client.post("/orders", &orders[n % 2]))).await;
    let placed = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(placed, 10);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "refused");
    }
    assert_eq!((client.stock_of("POT").await, client.stock_of("TEA").await), (0, 80));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_order_sent_sixteen_times_at_once_is_placed_once() {
    let served = Served::empty().await;
    served.client.stock("TEA", 450, 100).await;
    let client = served.client.actor("ada").key("k-1");
    let wanted = order(&[("TEA", 2, 450)]);
    let answers = join_all((0..16).map(|_| client.post("/orders", &wanted))).await;
    let answers: Vec<_> = answers.iter().map(|answer| answer.is(201)).collect();
    let first = answers.iter().filter(|answer| answer["repeated"] == false).count();
    assert_eq!(first, 1);
    assert!(answers.iter().all(|answer| answer["receipt"] == answers[0]["receipt"]));
    assert_eq!(client.stock_of("TEA").await, 98);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invoices_issued_at_once_have_numbers_without_gaps() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::in_file(&directory).await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 100).await;
    let mut orders = Vec::new();
    for _ in 0..8 {
        let placed = client.post("/orders", &order(&[("TEA", 1, 450)])).await.is(201);
        orders.push(placed["id"].as_str().expect("an id").to_owned());
    }
    // Each is asked for twice.
    let nothing = json!({});
    let issue = async |n: usize| {
        let answer = client.post(&format!("/orders/{}/invoice", orders[n % 8]), &nothing).await;
        let status = answer.status.as_u16();
        let invoice = answer.is(status);
        let id = invoice["id"].as_str().expect("an id").to_owned();
        let (_, number) = id.split_once('-').expect("a year and a number");
        (n % 8, number.parse::<u64>().expect("a number"), status)
    };
    let mut issued = join_all((0..16).map(issue)).await;
    assert_eq!(issued.iter().filter(|(.., status)| *status == 201).count(), 8);
    issued.sort_by_key(|(order, number, _)| (*order, *number));
    issued.dedup_by_key(|(order, number, _)| (*order, *number));
    let mut numbers: Vec<_> = issued.iter().map(|(_, number, _)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    served.stop().await;
}
