//! A kill between the sink's word and the cursor: the same again with the same ids, and nothing missing.

mod common;

use common::{Customer, World, check, create, in_order, wait_until, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_before_a_crash_comes_again_with_the_same_ids() {
    let _scenario = fail::FailScenario::setup();
    let world = World::new().await;
    world.drive(3, 30).await;
    let customer = Customer::start().await;
    let feeds = world.feeds().await;
    // The task ends there as the process would: confirmed, and the cursor where it was.
    fail::cfg("feed-before-cursor", "panic").expect("a fail point");
    create(&feeds, webhook("hook", customer.url())).await;
    wait_until("the first batch is confirmed", || async { !customer.items().is_empty() }).await;
    feeds.stop().await;
    let before = customer.items().len();
    fail::cfg("feed-before-cursor", "off").expect("a fail point");
    let feeds = world.feeds().await;
    wait_until("everything is told", || async {
        in_order(&customer.items()).0.values().map(Vec::len).sum::<usize>() == world.written()
    })
    .await;
    check(&world, &customer.items());
    wait_until("what was confirmed comes again", || async {
        customer.items().len() == world.written() + before
    })
    .await;
    feeds.stop().await;
    let feeds = world.feeds().await;
    world.drive(3, 3).await;
    wait_until("the rest", || async { customer.items().len() == world.written() + before }).await;
    feeds.stop().await;
}
