use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
};

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

/// A clock that shows the same time until it is set. In seconds.
#[derive(Debug, Default)]
struct Standing(AtomicI64);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000 + self.0.load(SeqCst) * 1000)
    }
}

fn at(seconds: i64) -> Standing {
    Standing(AtomicI64::new(seconds))
}

async fn fails(throttle: &Throttle, account: Account<'_>, address: IpAddr, now: i64) {
    throttle.admit(account, Some(address), &at(now)).await.unwrap().failed();
}

/// Makes `count` failures, each as soon as it is allowed. Returns the time of the last one.
async fn fails_on(throttle: &Throttle, account: Account<'_>, address: IpAddr, from: i64, count: u32) -> i64 {
    let mut now = from;
    for _ in 0..count {
        now += i64::try_from(delay(throttle, account, address, now).await).unwrap();
        fails(throttle, account, address, now).await;
    }
    now
}

/// Returns the delay in seconds for an attempt. The attempt is not counted.
async fn delay(throttle: &Throttle, account: Account<'_>, address: IpAddr, now: i64) -> u64 {
    match throttle.admit(account, Some(address), &at(now)).await {
        Ok(charge) => {
            charge.undecided();
            0
        }
        Err(throttled) => throttled.retry_after.as_secs(),
    }
}

const ADA: Account<'static> = Account::User("ada");

#[tokio::test]
async fn ten_failures_are_free_then_the_delay_doubles_up_to_a_minute() {
    let throttle = Throttle::default();
    let (mut delays, mut now) = (Vec::new(), 0);
    for _ in 0..18 {
        fails(&throttle, ADA, HOME, now).await;
        let wait = delay(&throttle, ADA, HOME, now).await;
        delays.push(wait);
        now += i64::try_from(wait).unwrap();
    }
    assert_eq!(delays[..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32]);
    assert_eq!(delays[16..], [60, 60]);
    fails(&throttle, ADA, HOME, now).await;
    for spelling in ["ADA", "\u{ff41}da", "\u{1d41a}d\u{24d0}", " ada\t"] {
        assert_eq!(delay(&throttle, Account::User(spelling), HOME, now).await, 60, "{spelling} is ada too");
    }
}

#[tokio::test]
async fn one_try_in_each_delay_keeps_the_delay_and_rest_forgives() {
    let throttle = Throttle::default();
    let mut now = fails_on(&throttle, ADA, HOME, 0, 20).await;
    for _ in 0..10 {
        now += 60;
        fails(&throttle, ADA, HOME, now).await;
        assert!(delay(&throttle, ADA, HOME, now).await >= 32);
    }
    assert_eq!(delay(&throttle, ADA, HOME, now + 60).await, 0, "the longest delay");
    assert_eq!(fails_on(&throttle, ADA, HOME, now + 17 * 60, 10).await, now + 17 * 60, "ten are free again");
}

#[tokio::test]
async fn a_clock_set_back_a_day_lengthens_no_delay() {
    let throttle = Throttle::default();
    fails_on(&throttle, ADA, HOME, 86_400, 20).await;
    assert_eq!(delay(&throttle, ADA, HOME, 0).await, 60);
    assert_eq!(delay(&throttle, ADA, HOME, 60).await, 0);
}

#[tokio::test]
async fn an_account_is_slowed_from_everywhere_but_where_its_owner_was() {
    let throttle = Throttle::default();
    throttle.admit(ADA, Some(HOME), &at(0)).await.unwrap().succeeded();
    for n in 0..11 {
        fails(&throttle, ADA, IpAddr::from([203, 0, 113, n]), 0).await;
    }
    let refused = throttle.admit(ADA, Some(AWAY), &at(0)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Account);
    assert_eq!(delay(&throttle, ADA, HOME, 0).await, 0);
    assert_eq!(delay(&throttle, Account::User("bob"), AWAY, 0).await, 0);
    throttle.exempt(ADA, AWAY);
    assert_eq!(delay(&throttle, ADA, AWAY, 0).await, 0, "by the audit");
}

#[tokio::test]
async fn a_success_takes_back_its_own_charge_and_nothing_of_the_address() {
    let throttle = Throttle::default();
    let mut now = 0;
    for _ in 0..2 {
        for n in 0..10 {
            let name = format!("victim{n}");
            now += i64::try_from(delay(&throttle, Account::User(&name), AWAY, now).await).unwrap();
            fails(&throttle, Account::User(&name), AWAY, now).await;
        }
        now += i64::try_from(delay(&throttle, Account::User("mallory"), AWAY, now).await).unwrap();
        throttle.admit(Account::User("mallory"), Some(AWAY), &at(now)).await.unwrap().succeeded();
    }
    assert!(now > 60, "the second ten guesses were slowed: {now} s");
}

#[tokio::test]
async fn an_address_is_slowed_for_all_accounts_and_a_v6_network_is_one() {
    let throttle = Throttle::default();
    for n in 0..11u16 {
        let host = IpAddr::from([0x2001, 0xdb8, 1, 2, n, n, n, n]);
        fails(&throttle, Account::User(&format!("user{n}")), host, 0).await;
    }
    let new = Account::User("new");
    assert!(delay(&throttle, new, "2001:db8:1:2::9".parse().unwrap(), 0).await > 0);
    assert_eq!(delay(&throttle, new, "2001:db8:1:3::9".parse().unwrap(), 0).await, 0);
}

#[tokio::test]
async fn kinds_of_accounts_share_no_count() {
    let throttle = Throttle::default();
    for name in ["mock", "client:mock", "mock from 192.0.2.1", "client:mock 192.0.2.1"] {
        fails_on(&throttle, Account::User(name), AWAY, 0, 20).await;
    }
    for other in [Account::Provider("mock"), Account::Client("mock"), Account::Client("client:mock")] {
        assert_eq!(delay(&throttle, other, AWAY, 0).await, 0, "{other:?}");
    }
    fails_on(&throttle, Account::Client("mock"), AWAY, 0, 20).await;
    assert_eq!(delay(&throttle, Account::Client("mock"), HOME, 0).await, 0, "strangers keep no client out");
    fails_on(&throttle, Account::Provider("mock"), AWAY, 0, 20).await;
    assert_eq!(delay(&throttle, Account::Provider("mock"), HOME, 0).await, 0, "nor a provider's people");
}

#[tokio::test]
async fn an_unknown_address_is_not_counted_and_the_account_is() {
    let throttle = Throttle::default();
    for n in 0..50 {
        let name = format!("user{n}");
        throttle.admit(Account::User(&name), None, &at(0)).await.unwrap().failed();
    }
    for _ in 0..11 {
        throttle.admit(ADA, None, &at(0)).await.unwrap().failed();
    }
    let refused = throttle.admit(ADA, None, &at(0)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Account);
}

/// Makes several attempts at once. Returns how many were checked, and how many refused.
async fn at_once(
    throttle: Throttle,
    count: usize,
    room: usize,
    right: bool,
    one_account: bool,
) -> (usize, usize) {
    let (throttle, checked, most) =
        (Arc::new(throttle), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let attempts = (0..count).map(|n| {
        let (throttle, checked, most) = (Arc::clone(&throttle), Arc::clone(&checked), Arc::clone(&most));
        tokio::spawn(async move {
            let name = if one_account { "ada".to_owned() } else { format!("user{n}") };
            let charge = throttle.admit(Account::User(&name), Some(HOME), &at(0)).await?;
            most.fetch_max(checked.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if right {
                charge.succeeded();
            } else {
                charge.failed();
            }
            Ok::<_, Throttled>(())
        })
    });
    let mut refused = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        refused += usize::from(attempt.await.unwrap().is_err());
    }
    assert!(throttle.lock().waiting == [0; 3] && room > 0);
    (checked.load(SeqCst), refused)
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_wrong_passwords_at_once_the_ten_free_ones_are_checked() {
    for one_account in [true, false] {
        assert_eq!(at_once(Throttle::default(), 100, 64, false, one_account).await, (10, 90));
    }
}

#[tokio::test(start_paused = true)]
async fn good_logins_of_many_people_behind_one_address_all_come_in() {
    assert_eq!(at_once(Throttle::default(), 74, 64, true, false).await, (74, 0));
    let (checked, refused) = at_once(Throttle::new(8), 100, 8, true, false).await;
    assert_eq!((checked, refused), (18, 82), "as many wait as may");
}

#[tokio::test]
async fn an_attempt_that_is_given_up_half_way_is_a_failure() {
    let throttle = Throttle::default();
    for _ in 0..11 {
        drop(throttle.admit(ADA, Some(HOME), &at(0)).await.unwrap());
    }
    assert_eq!(delay(&throttle, ADA, HOME, 0).await, 1);
}

#[tokio::test]
async fn a_flood_of_names_takes_bounded_room_and_washes_no_delay_away() {
    let throttle = Throttle::default();
    let now = fails_on(&throttle, ADA, HOME, 0, 20).await;
    for n in 0..60_000u32 {
        fails(&throttle, Account::User(&format!("user{n}")), IpAddr::from(n.to_be_bytes()), now).await;
    }
    assert!(throttle.lock().counts.len() <= ROOM);
    assert!(delay(&throttle, ADA, HOME, now).await > 0);
}

#[tokio::test]
async fn the_oldest_of_the_spared_go_first() {
    let throttle = Throttle::default();
    let exempt = |n: u32| throttle.exempt(ADA, IpAddr::from(n.to_be_bytes()));
    (0..u32::try_from(ROOM).unwrap()).for_each(exempt);
    exempt(0); // seen again
    (100_000..100_010).for_each(exempt);
    let knows = |n: u32| {
        let pair = throttle.keys(ADA, Some(IpAddr::from(n.to_be_bytes()))).pair.unwrap();
        throttle.lock().known.last.contains_key(&pair)
    };
    assert!(knows(0) && !knows(1) && !knows(10) && knows(11) && knows(49_999) && knows(100_009));
    for _ in 0..3 * ROOM {
        exempt(7);
    }
    assert!(throttle.lock().known.order.len() <= 2 * ROOM);
}

#[test]
fn a_name_is_cut_before_it_is_folded() {
    // U+FDFA folds to 18 characters.
    assert!(folded(&"\u{fdfa}".repeat(5461)).chars().count() <= USED_CHARS * 18);
    assert_eq!(folded(" Ada\u{3000}"), "ada");
}
