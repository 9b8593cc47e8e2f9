//! The levels, and where each begins and ends.

use crate::api::Quantity;

/// How little room there is, from the mildest to the gravest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// Nothing new is made.
    Creates,
    /// Running guests are paused, too.
    Guests,
}

/// Where the levels begin. The default knows none, and no ballast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// [`Pressure::Creates`] below this; 0: never.
    pub creates: Quantity,
    /// [`Pressure::Guests`] below this, which is no more than `creates`; 0: never.
    pub guests: Quantity,
    /// So much more than where a level began has to be there to end it.
    pub hysteresis: Quantity,
    /// The ballast; 0: none.
    pub ballast: Quantity,
}

impl DiskLimits {
    /// Whether there is anything to look after.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// What ends a level; `None` for the one that nothing has to end.
    pub fn end_of(&self, level: Pressure) -> Option<Quantity> {
        let begin = match level {
            Pressure::None => return None,
            Pressure::Creates => self.creates,
            Pressure::Guests => self.guests,
        };
        let end = begin.bytes().saturating_add(self.hysteresis.bytes());
        Some(Quantity::from_bytes(end))
    }
}

impl Pressure {
    /// The level at this headroom ([`super::Room::headroom`]), after this one.
    #[must_use]
    pub fn next(self, headroom: Quantity, limits: &DiskLimits) -> Self {
        let holds = |level: Self, begin: Quantity| {
            let ends = limits.end_of(level).filter(|_| self >= level);
            begin.bytes() > 0 && headroom < ends.unwrap_or(begin)
        };
        if holds(Self::Guests, limits.guests) {
            Self::Guests
        } else if holds(Self::Creates, limits.creates) {
            Self::Creates
        } else {
            Self::None
        }
    }
}
