//! Compares random lives of a session with a second, simple implementation of the table in docs/design/sessions.md.

use bulla::internals::{clock::Clock as _, session::Denied, store::User};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::one_node_and_user;
use crate::support::installation::{Installation, Node, millis};

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    /// Presents the token that is this many generations older than the newest.
    Present(u64),
    LogOut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::sample::select(vec![1, 4_999, 5_000, 9_999, 10_000, 30_000, 59_999, 60_000, 300_000, 1_500_000])
            .prop_map(Step::Wait),
        8 => prop_oneof![5 => Just(0), 4 => Just(1), 1 => Just(2)].prop_map(Step::Present),
        1 => Just(Step::LogOut),
    ]
}

/// The second implementation of the table, in milliseconds since the session began.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Account {
    alive: bool,
    newest: u64,
    rotated: u64,
    pardon: Option<(u64, u64)>,
    idle_end: u64,
}

impl Account {
    /// The expected answer: the name of an error, or the generation handed out.
    fn present(&mut self, generation: u64, now: u64) -> Result<Option<u64>, &'static str> {
        if !self.alive || now >= self.idle_end {
            return Err("session");
        }
        let (age, behind) = (now - self.rotated, self.newest - generation);
        let recent = self.pardon.filter(|(_, at)| now - at < 3_600_000);
        match (behind, recent) {
            (0, _) if age < 60_000 => Ok(None),
            (0, _) => {
                (self.newest, self.rotated, self.idle_end) = (self.newest + 1, now, now + 1_800_000);
                Ok(Some(self.newest))
            }
            (1, _) if age < 10_000 => Ok(Some(self.newest)),
            (1, None) => {
                (self.rotated, self.pardon) = (now, Some((generation, now)));
                Ok(Some(self.newest))
            }
            (1, Some((pardoned, _))) if pardoned == generation => Ok(Some(self.newest)),
            _ => {
                self.alive = false;
                Err("reuse")
            }
        }
    }
}

async fn live(
    installation: &Installation,
    node: &Node,
    user: &User,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let issued = node.begin(user).await;
    let began = issued.row.created_at;
    let mut account = Account { alive: true, newest: 0, rotated: 0, pardon: None, idle_end: 1_800_000 };
    let mut tokens = vec![issued.refresh.clone()];
    for step in steps {
        let now = installation.clock.now().since(began).as_millis() as u64;
        match *step {
            Step::Wait(by) => installation.clock.advance(millis(by)),
            Step::LogOut => {
                let had = account.alive;
                account.alive = false;
                prop_assert_eq!(node.log_out(issued.row.sid).await, had);
            }
            Step::Present(back) => {
                let generation = (tokens.len() as u64 - 1).saturating_sub(back);
                let expected = account.present(generation, now);
                let answer = match node.renew(&tokens[generation as usize]).await {
                    Ok(renewed) => {
                        let handed = super::generation(node, &renewed);
                        if let (Some(handed), Some(token)) = (handed, renewed.refresh) {
                            if handed as usize == tokens.len() {
                                tokens.push(token);
                            } else {
                                tokens[handed as usize] = token;
                            }
                        }
                        Ok(handed)
                    }
                    Err(Denied::Reuse) => Err("reuse"),
                    Err(Denied::Session) => Err("session"),
                    Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
                };
                prop_assert_eq!(answer, expected);
            }
        }
        let row = node.row(issued.row.sid).await;
        prop_assert_eq!(row.is_some(), account.alive);
        if let Some(row) = row {
            let since = |time: bulla::internals::clock::Timestamp| time.since(began).as_millis() as u64;
            let kept = Account {
                alive: true,
                newest: row.generation,
                rotated: since(row.rotated_at),
                pardon: row.pardoned_gen.zip(row.pardoned_at.map(since)),
                idle_end: since(row.idle_expires_at),
            };
            prop_assert_eq!(kept, account);
        }
    }
    Ok(())
}

#[test]
fn random_operations_follow_the_refresh_table() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (installation, node, user) = runtime.block_on(one_node_and_user());
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..40), |steps| {
            runtime.block_on(live(&installation, &node, &user, &steps))
        })
        .unwrap();
}
