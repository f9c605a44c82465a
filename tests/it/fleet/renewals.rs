//! Tests one refresh cookie that many tabs present to three nodes at once.

use std::time::Duration;

use super::{Fleet, http_client::Tokens};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_renewals_of_one_cookie_on_three_nodes_make_one_rotation() {
    // The shortest time between rotations is four seconds, and a lost answer can be requested again for two seconds.
    let settings = [("BULLA_ACCESS_MAX_AGE", "8s"), ("BULLA_REPLAY_WINDOW", "2s")];
    let Some(fleet) = Fleet::start(&settings) else { return };
    let policy = bulla::internals::session::Policy {
        access_max_age: Duration::from_secs(8),
        replay_window: Duration::from_secs(2),
        ..bulla::internals::session::Policy::default()
    };
    let issuer = fleet.issuer(policy).await;
    let user = issuer.user("ada").await;
    let nodes = fleet.nodes();
    let mut refresh = issuer.begin(&user).await.unwrap().refresh.into_string();
    for round in 1..=3 {
        tokio::time::sleep(Duration::from_millis(4100)).await;
        let tabs = (0..64).map(|tab| {
            let (node, refresh) = (nodes[tab % 3].clone(), refresh.clone());
            tokio::spawn(async move { node.refresh(&refresh).await.unwrap() })
        });
        let mut answers = Vec::new();
        for tab in tabs.collect::<Vec<_>>() {
            answers.push(tab.await.unwrap());
        }
        let statuses: Vec<_> =
            answers.iter().map(|answer| answer.status).filter(|status| *status != 200).collect();
        assert_eq!(statuses, [0; 0], "round {round}: not everybody was let on");
        let mut generations: Vec<_> = answers
            .iter()
            .filter_map(|answer| answer.set.refresh.as_deref())
            .map(|t| issuer.generation(t))
            .collect();
        let told = generations.len();
        generations.dedup();
        assert_eq!(generations, [round], "round {round}: one chain");
        assert_eq!(fleet.value("SELECT generation FROM sessions"), round.to_string());
        println!("round {round}: 64 answers of 200, {told} with the one new refresh token");
        // The browser can continue with the cookies of any of the answers.
        for answer in answers {
            let jar = Tokens { access: answer.set.access, refresh: None };
            assert_eq!(nodes[0].look(&jar).await.unwrap().status, 200);
            refresh = answer.set.refresh.unwrap_or(refresh);
        }
    }
    assert_eq!(
        fleet.value("SELECT count(*) FROM audit WHERE event LIKE 'refresh.%' AND event <> 'refresh.moved'"),
        "0",
        "nobody needed a pardon"
    );
}
