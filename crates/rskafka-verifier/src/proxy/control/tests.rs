use proptest::prelude::*;
use rskafka::protocol::ApiKey;

use super::*;

const TO_BROKER: Direction = Direction::ToBroker;

fn request(api: ApiKey, body: usize) -> Vec<u8> {
    let mut frame = vec![0; 12 + body];
    frame[..4].copy_from_slice(&(8 + body as u32).to_be_bytes());
    frame[4..6].copy_from_slice(&api.0.to_be_bytes());
    frame
}

/// Feeds all bytes, as they come in `pieces`; gives at which positions actions came.
fn feed(
    control: &mut Control,
    bytes: &[u8],
    mut pieces: impl Iterator<Item = usize>,
) -> Vec<(usize, Action)> {
    let id = control.connected();
    let (mut come, mut passed) = (0, 0);
    let mut happened = Vec::new();
    while passed < bytes.len() {
        let look = control.look(id, TO_BROKER, &bytes[passed..come]);
        passed += look.pass;
        if look.pass == 0 && look.actions.is_empty() {
            assert!(come < bytes.len(), "all bytes are there, and it asks for more");
            come = (come + pieces.next().unwrap()).min(bytes.len());
        }
        happened.extend(look.actions.into_iter().map(|action| (passed, action)));
    }
    happened
}

fn all_at_once() -> impl Iterator<Item = usize> {
    std::iter::repeat(usize::MAX >> 1)
}

#[test]
fn an_action_comes_before_the_byte_of_its_moment() {
    let bytes = [request(ApiKey::METADATA, 9), request(ApiKey::PRODUCE, 100)].concat();
    let mut control = Control::default();
    control.inject(Fault::at(Moment::Request(ApiKey::PRODUCE), Action::Cut));
    control.inject(Fault::at(Moment::EndOfRequest(ApiKey::PRODUCE), Action::Reset));
    control.inject(Fault::at(Moment::Byte(TO_BROKER, 50), Action::Freeze(TO_BROKER)));
    control.inject(Fault::at(Moment::Byte(Direction::ToClient, 3), Action::Cut));
    assert_eq!(
        feed(&mut control, &bytes, all_at_once()),
        [(21, Action::Cut), (50, Action::Freeze(TO_BROKER)), (132, Action::Reset)]
    );
}

#[test]
fn a_fault_strikes_once() {
    let bytes = [request(ApiKey::PRODUCE, 0), request(ApiKey::PRODUCE, 0)].concat();
    let on_produce = || Fault::at(Moment::Request(ApiKey::PRODUCE), Action::Cut);
    let mut control = Control::default();
    let once = control.inject(on_produce());
    assert_eq!(control.struck(once), 0);
    assert_eq!(feed(&mut control, &bytes, all_at_once()), [(0, Action::Cut)]);
    assert_eq!(control.struck(once), 1);
    assert_eq!(feed(&mut control, &bytes, all_at_once()), []);
    let cleared = control.inject(on_produce());
    control.clear();
    assert_eq!(feed(&mut control, &bytes, all_at_once()), []);
    assert_eq!((control.struck(once), control.struck(cleared)), (0, 0));
}

#[test]
fn a_thaw_opens_what_is_shut_but_does_not_mend_what_is_cut() {
    let mut control = Control::default();
    let (frozen, cut) = (control.connected(), control.connected());
    control.happened(frozen, Action::Freeze(TO_BROKER));
    control.happened(cut, Action::Cut);
    assert!(control.gate(frozen).is_shut(TO_BROKER));
    control.thaw();
    assert_eq!(control.gate(frozen), Gate::default());
    assert_eq!(control.gate(cut).end, Some(Action::Cut));
    assert!(control.gate(cut).is_shut(TO_BROKER));
}

proptest! {
    #[test]
    fn however_bytes_come_actions_come_at_the_same_places(
        bodies in prop::collection::vec((0i16..3, 0usize..50), 1..6),
        at in 0u64..150,
        pieces in prop::collection::vec(1usize..40, 1..20),
    ) {
        let bytes: Vec<u8> = bodies.iter().flat_map(|(key, body)| request(ApiKey(*key), *body)).collect();
        let run = |pieces: &mut dyn Iterator<Item = usize>| {
            let mut control = Control::default();
            control.inject(Fault::at(Moment::Byte(TO_BROKER, at), Action::Cut));
            control.inject(Fault::at(Moment::Request(ApiKey(1)), Action::Reset));
            control.inject(Fault::at(Moment::EndOfRequest(ApiKey(2)), Action::Freeze(TO_BROKER)));
            feed(&mut control, &bytes, pieces)
        };
        prop_assert_eq!(run(&mut all_at_once()), run(&mut pieces.iter().copied().cycle()));
    }

    #[test]
    fn any_bytes_are_passed_on(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut control = Control::default();
        let id = control.connected();
        for direction in [TO_BROKER, Direction::ToClient] {
            let mut passed = 0;
            loop {
                let look = control.look(id, direction, &bytes[passed..]);
                passed += look.pass;
                if look.pass == 0 {
                    break;
                }
            }
            // What is held back is less than a header.
            prop_assert!(bytes.len() - passed < 12);
        }
    }
}
