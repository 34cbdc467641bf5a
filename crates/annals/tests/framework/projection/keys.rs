//! Which part a key belongs to.

use annals::Partition;

#[test]
fn what_belongs_to_which_part_is_decided_for_ever() {
    let of = |key| Partition::of(key, 4);
    let parts = [of(""), of("1"), of("2"), of("ACC_123"), of("account-1"), of("\u{e9}")];
    assert_eq!(parts, [1, 0, 1, 3, 0, 2]);
}

#[test]
fn parts_are_about_equal() {
    for count in [2, 3, 4, 7, 16] {
        let mut sizes = vec![0_u32; count as usize];
        for key in 0..10_000 {
            sizes[Partition::of(&key.to_string(), count) as usize] += 1;
        }
        let even = 10_000 / count;
        assert!(sizes.iter().all(|size| *size * 10 > even * 8), "{count}: {sizes:?}");
    }
}

#[test]
fn every_key_has_exactly_one_part() {
    for key in ["", "a", "account-17", "\u{1f980}"] {
        let owners = (0..5).filter(|index| Partition { index: *index, count: 5 }.owns(key));
        assert_eq!(owners.count(), 1);
        assert!(Partition::WHOLE.owns(key));
    }
}
