use proptest::prelude::*;

use super::*;

fn init(coordinator: &mut Coordinator, own: Option<(i64, i16)>) -> Result<(i64, i16), ErrorCode> {
    let own = own.map(|(producer_id, epoch)| Identity { producer_id, epoch });
    coordinator.init(1, "owner", own, 1000).map(|now| (now.producer_id, now.epoch))
}

const FENCED: Result<(i64, i16), ErrorCode> = Err(ErrorCode::PRODUCER_FENCED);

#[test]
fn each_asker_gets_the_next_epoch_and_an_old_owner_is_fenced() {
    let mut coordinator = Coordinator::default();
    assert_eq!(init(&mut coordinator, None), Ok((0, 0)));
    assert_eq!(init(&mut coordinator, None), Ok((0, 1)));
    assert_eq!(init(&mut coordinator, Some((0, 0))), FENCED);
    assert_eq!(init(&mut coordinator, Some((0, 1))), Ok((0, 2)));
    assert_eq!(init(&mut coordinator, Some((0, 1))), Ok((0, 2)), "its answer was lost");
    assert_eq!(init(&mut coordinator, Some((0, 2))), Ok((0, 3)));
    assert_eq!(init(&mut coordinator, Some((0, 1))), FENCED);
    assert_eq!(init(&mut coordinator, Some((0, 9))), FENCED);
    assert_eq!(init(&mut coordinator, Some((5, 3))), FENCED);
    assert_eq!(init(&mut coordinator, None), Ok((0, 4)));
    assert_eq!(init(&mut coordinator, Some((0, 3))), FENCED, "another has asked since");
}

#[test]
fn after_the_last_epoch_comes_another_producer_id() {
    let mut coordinator = Coordinator::default();
    init(&mut coordinator, None).unwrap();
    assert!(coordinator.set_epoch("owner", i16::MAX - 2));
    assert_eq!(init(&mut coordinator, Some((0, i16::MAX - 2))), Ok((0, i16::MAX - 1)));
    assert_eq!(init(&mut coordinator, Some((0, i16::MAX - 1))), Ok((1, 0)));
    assert_eq!(init(&mut coordinator, Some((0, i16::MAX - 1))), Ok((1, 0)), "its answer was lost");
    assert_eq!(init(&mut coordinator, Some((1, 0))), Ok((1, 1)));
    assert_eq!(init(&mut coordinator, Some((0, i16::MAX - 1))), FENCED);
}

#[test]
fn an_id_that_nobody_asked_for_in_a_long_time_is_forgotten() {
    let mut coordinator = Coordinator::default();
    init(&mut coordinator, None).unwrap();
    coordinator.expire(1999, 1000);
    assert_eq!(init(&mut coordinator, None), Ok((0, 1)));
    coordinator.expire(2000, 1000);
    assert_eq!(init(&mut coordinator, Some((0, 0))), Ok((1, 0)), "also for a stale owner");
    assert!(coordinator.forget("owner") && !coordinator.forget("owner"));
}

#[test]
fn brokers_take_ids_by_blocks_and_forget_theirs_when_they_stop() {
    let mut coordinator = Coordinator::default();
    assert_eq!([1, 2, 1, 2].map(|broker| coordinator.new_id(broker)), [0, 1000, 1, 1001]);
    coordinator.broker_stopped(1);
    assert_eq!(coordinator.new_id(1), 2000);
    for _ in 0..998 {
        coordinator.new_id(2);
    }
    assert_eq!(coordinator.new_id(2), 3000);
}

#[test]
fn ids_are_hashed_as_java_does() {
    assert_eq!(partition_of("owner", usize::MAX), 106_164_915);
    assert_eq!(partition_of("", 50), 0);
    // Its hash is i32::MIN, of which Java has no absolute value.
    assert_eq!(partition_of("polygenelubricants", usize::MAX), 0);
}

proptest! {
    /// Two owners never hold the same epoch of the same id, whatever they ask with, unless one repeats its own
    /// request.
    #[test]
    fn no_two_owners_hold_the_same_epoch(asked in prop::collection::vec((0usize..3, any::<bool>()), 1..60)) {
        let mut coordinator = Coordinator::default();
        let mut held: [Option<(i64, i16)>; 3] = [None; 3];
        for (owner, renews) in asked {
            let own = held[owner].filter(|_| renews);
            if let Ok(now) = init(&mut coordinator, own) {
                prop_assert!(held.iter().flatten().all(|other| *other != now));
                held[owner] = Some(now);
            } else {
                held[owner] = None;
            }
        }
    }
}
