#![allow(clippy::unwrap_used)]

use super::*;

fn stock(size: u8, warm: &[u16], foreign: &[u16]) -> Stock {
    let stock = Stock::default();
    stock.set_size(size.try_into().unwrap());
    let set = |numbers: &[u16]| numbers.iter().copied().collect::<BTreeSet<u16>>();
    stock.learn(stock.mark(), &set(warm), set(foreign));
    stock
}

fn numbers(rooms: &[Room<'_>]) -> Vec<u16> {
    rooms.iter().map(|room| room.number).collect()
}

#[test]
fn room_is_for_what_is_missing_under_numbers_that_nobody_has() {
    let stock = stock(6, &[2], &[1, 4]);
    let first = stock.room(3);
    assert_eq!(numbers(&first), [3, 5, 6]);
    let second = stock.room(16);
    assert_eq!(numbers(&second), [7, 8], "those under way count");
    assert!(stock.room(16).is_empty());
    drop(first);
    assert_eq!(
        numbers(&stock.room(16)),
        [3, 5, 6],
        "a failure burns no number"
    );
}

#[test]
fn nothing_is_kept_before_a_size_is_told() {
    let stock = Stock::default();
    assert!(stock.room(1).is_empty() && stock.spare_room().is_none());
    assert!(stock.take().is_none());
}

#[test]
fn a_full_pool_keeps_as_many_again_that_come_back() {
    let stock = stock(2, &[1, 2], &[]);
    assert!(stock.room(16).is_empty());
    let (one, two) = (stock.spare_room(), stock.spare_room());
    assert!(stock.spare_room().is_none(), "those under way count");
    for room in [one, two].into_iter().flatten() {
        room.fill();
    }
    assert!(stock.take_surplus().is_empty() && stock.spare_room().is_none());
    // At size 0 nothing is kept.
    stock.set_size(PoolSize::EMPTY);
    assert!(stock.spare_room().is_none());
    assert_eq!(stock.take_surplus().len(), 4);
}

#[test]
fn what_is_taken_is_nobody_elses() {
    let stock = stock(2, &[1, 2], &[]);
    let (one, two) = (stock.take().unwrap(), stock.take().unwrap());
    assert_eq!((one.number, two.number), (1, 2));
    assert!(stock.take().is_none());
    // A picture from before they were taken.
    stock.learn(stock.mark(), &BTreeSet::from([1, 2]), BTreeSet::new());
    assert!(stock.take().is_none());
    assert_eq!(numbers(&stock.room(16)), [3, 4], "nor is its number");
}

#[test]
fn what_came_in_since_the_picture_was_begun_stays() {
    let stock = stock(2, &[], &[]);
    let mark = stock.mark();
    for room in stock.room(2) {
        room.fill();
    }
    stock.learn(mark, &BTreeSet::new(), BTreeSet::new());
    assert_eq!(stock.take().unwrap().number, 1);
    // And what has gone behind our back goes.
    stock.learn(stock.mark(), &BTreeSet::new(), BTreeSet::new());
    assert!(stock.take().is_none());
}

#[test]
fn a_smaller_size_leaves_a_surplus() {
    let stock = stock(4, &[1, 2, 3, 4], &[]);
    assert!(stock.take_surplus().is_empty());
    stock.set_size(1.try_into().unwrap());
    let surplus: Vec<u16> = stock.take_surplus().iter().map(|t| t.number).collect();
    assert_eq!(surplus, [4, 3], "twice the size stays");
}

#[test]
fn an_interface_is_held_once() {
    let stock = Stock::default();
    let held = stock.hold(7);
    assert!(held.is_some() && stock.hold(7).is_none());
    drop(held);
    assert!(stock.hold(7).is_some());
}
