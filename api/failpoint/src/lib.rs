//! Failpoints: places, by name, at which a process of a test build can be made to die or to stop.
//!
//! Every await that writes something outside its process (a row, an object of Kubernetes, a message) is wrapped by
//! [`around`], which gives it two failpoints, `<part>.<write>.before` and `<part>.<write>.after`. A crate declares its
//! writes in one place, by [`writes!`], so its list is complete by construction and each name is used where its constant
//! is; `e2e/tests/tests/architecture` holds that each is used once, and `e2e/tests/tests/fire` that each is hit.
//!
//! Without the feature `failpoints`, which is off by default and in images, [`around`] is its future and nothing else of
//! this exists in a program. With it a program lists its failpoints (`threeport-api failpoints`), and still nothing
//! happens unless its environment says so: `THREEPORT_FAILPOINT=engine.claim.before=kill@3` makes the third hit of that
//! failpoint a SIGKILL of the own process (`stop`: a SIGSTOP), and `THREEPORT_FAILPOINT_LOG` names a file to which each
//! hit of each failpoint is appended, so that who restarts the process can prove that it died where it should.
//!
//! What not to do: no failpoint inside a transaction's closure or around a read. Nothing has happened there that a
//! restart could meet.

#[cfg(feature = "failpoints")]
mod armed;

/// One place that writes. Made by [`writes!`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    part: &'static str,
    name: &'static str,
}

/// On which side of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing was sent.
    Before,
    /// It was answered, whatever the answer was.
    After,
}

impl Write {
    /// A write of a part, as in `engine` and `claim`.
    pub const fn new(part: &'static str, name: &'static str) -> Self {
        Self { part, name }
    }

    /// Its name within its part.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The name of one of its failpoints.
    pub fn failpoint(self, side: Side) -> String {
        let side = match side {
            Side::Before => "before",
            Side::After => "after",
        };
        format!("{}.{}.{side}", self.part, self.name)
    }
}

/// The failpoints of a program whose parts declare these writes.
pub fn failpoints(parts: &[&[Write]]) -> Vec<String> {
    let writes = parts.iter().copied().flatten();
    writes
        .flat_map(|write| [write.failpoint(Side::Before), write.failpoint(Side::After)])
        .collect()
}

/// Declares the writes of a crate: a constant for each, and `ALL` of them.
#[macro_export]
macro_rules! writes {
    ($part:literal; $($(#[$documentation:meta])* $constant:ident = $name:literal;)+) => {
        $($(#[$documentation])* pub(crate) const $constant: $crate::Write = $crate::Write::new($part, $name);)+
        /// All of them.
        pub const ALL: &[$crate::Write] = &[$($constant),+];
    };
}

/// The write itself: without the feature there is nothing around it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn around<F: Future>(_write: Write, future: F) -> F {
    future
}

/// The write with a failpoint on either side.
#[cfg(feature = "failpoints")]
pub async fn around<F: Future>(write: Write, future: F) -> F::Output {
    armed::hit(write, Side::Before);
    let output = future.await;
    armed::hit(write, Side::After);
    output
}

/// Why failpoints can't be set as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// No such form.
    #[error("THREEPORT_FAILPOINT={0:?} is not <failpoint>=<kill|stop>@<n>, where n counts from 1")]
    Form(String),
    /// No such failpoint.
    #[error("THREEPORT_FAILPOINT: this program has no failpoint {0:?}; its command `failpoints` lists them")]
    Unknown(String),
    /// The list can't be printed.
    #[error("failed to list the failpoints")]
    List(#[source] std::io::Error),
    /// The log can't be opened.
    #[error("failed to open THREEPORT_FAILPOINT_LOG {path:?}")]
    Log {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a program whose parts declare these writes does first: a test build sets the failpoint that its environment names
/// or, asked to by its one argument `failpoints`, lists them all. Whether it did that, and is to end.
#[cfg(not(feature = "failpoints"))]
pub fn begin(_parts: &[&[Write]]) -> Result<bool, ArmError> {
    Ok(false)
}

/// What a program whose parts declare these writes does first: a test build sets the failpoint that its environment names
/// or, asked to by its one argument `failpoints`, lists them all. Whether it did that, and is to end.
#[cfg(feature = "failpoints")]
pub fn begin(parts: &[&[Write]]) -> Result<bool, ArmError> {
    use std::io::Write as _;
    if std::env::args().skip(1).eq(["failpoints"]) {
        let text: String = failpoints(parts).iter().map(|name| format!("{name}\n")).collect();
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(ArmError::List)?;
        return Ok(true);
    }
    armed::arm(parts, |name| std::env::var(name).ok())?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    #[expect(unreachable_pub, reason = "a crate declares its writes for its program")]
    mod writes {
        writes! { "part"; #[doc = "One."] ONE = "one"; #[doc = "Other."] OTHER = "other"; }
    }

    #[test]
    fn a_write_has_two_failpoints_and_none_is_left_out() {
        assert_eq!(writes::ONE.name(), "one");
        assert_eq!(
            super::failpoints(&[writes::ALL]),
            [
                "part.one.before",
                "part.one.after",
                "part.other.before",
                "part.other.after"
            ]
        );
        assert_eq!(writes::ALL[1], writes::OTHER);
    }
}
