//! Tests an outage of the database that lasts half a minute.

use std::time::{Duration, Instant};

use super::{
    Fleet, PATIENCE,
    http_client::{Answer, Tokens},
};
use crate::support::server::eventually;

/// The length of the outage.
const AWAY: Duration = Duration::from_secs(30);
/// The longest time that any answer may take.
const PROMPT: Duration = Duration::from_secs(1);

/// Checks that the answer is 503 with `Retry-After`, that it is in time, and that it touches no cookie.
fn cannot_tell(what: &str, answer: Option<Answer>) {
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.retry_after), (503, true), "{what}");
    assert!(!answer.touches_cookies, "{what} touches cookies");
    assert!(answer.took < PROMPT, "{what} took {:?}", answer.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_a_database_outage_access_tokens_pass_and_all_else_is_503_until_it_returns() {
    let Some(fleet) = Fleet::with_postgres(&[]) else { return };
    let issuer = fleet.issuer(bulla::internals::session::Policy::default()).await;
    issuer.user("ada").await;
    let nodes = fleet.nodes();
    let mut jars = Vec::new();
    for node in &nodes {
        jars.push(node.log_in("ada").await.unwrap().set);
    }
    // Stop the issuer, so that from here on only the three servers use the database.
    drop(issuer);
    let processes = || ["node1", "node2", "node3"].map(|name| fleet.pid(name));
    let before = processes();

    fleet.hold("postgres");
    fleet.kill("postgres", "INT");
    // A node looks at the store at most once a second, so it may still answer with the result of its last look.
    for node in &nodes {
        eventually("not ready", || async { node.ready().await.unwrap().status == 503 }).await;
    }
    let (stopped, mut asked) = (Instant::now(), 0);
    while stopped.elapsed() < AWAY {
        for (node, jar) in nodes.iter().zip(&jars) {
            let (access, refresh) = (jar.access.clone().unwrap(), jar.refresh.clone().unwrap());
            let passes = node.look(&Tokens::access(&access)).await.unwrap();
            assert_eq!(passes.status, 200, "an access token needs no store, {:?} on", stopped.elapsed());
            assert!(passes.took < PROMPT, "{:?}", passes.took);
            cannot_tell("a request with a refresh token", node.look(&Tokens::refresh(&refresh)).await);
            cannot_tell("a renewal", node.refresh(&refresh).await);
            cannot_tell("a login", node.log_in("ada").await);
            cannot_tell("a logout", node.log_out(jar).await);
            assert_eq!(node.ready().await.unwrap().status, 503);
            asked += 6;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("{asked} requests were answered while the database was away");

    fleet.release("postgres");
    fleet.postgres_is_back();
    let back = Instant::now();
    for (node, jar) in nodes.iter().zip(&jars) {
        let refresh = jar.refresh.clone().unwrap();
        while node.refresh(&refresh).await.unwrap().status != 200 {
            assert!(back.elapsed() < PATIENCE, "the node doesn't recover");
        }
        assert_eq!(node.log_in("ada").await.unwrap().status, 200);
        eventually("ready", || async { node.ready().await.unwrap().status == 200 }).await;
    }
    println!("all three renewed again {:?} after the database was back", back.elapsed());
    assert_eq!(processes(), before, "no server was started anew");
    // The logouts that were answered by 503 did not happen; this one does.
    assert_eq!(nodes[0].log_out(&jars[0]).await.unwrap().status, 204);
    let access = Tokens::access(jars[0].access.as_ref().unwrap());
    for node in &nodes {
        eventually("refused everywhere", || async { node.look(&access).await.unwrap().status == 401 }).await;
    }
}
