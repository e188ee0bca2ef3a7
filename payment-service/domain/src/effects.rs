use crate::Cause;

/// What can be asked of the provider for one payment, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Set the order's total aside on the card.
    Authorize,
    /// Take what was set aside.
    Capture,
    /// Give everything back, whatever was done, and let nothing more be done.
    Void,
}

impl Step {
    /// Its name in effects, message ids and `StepFailed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
        }
    }
}

/// How far a call to the provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not called yet.
    Pending,
    /// Being called right now, or the caller died: it will be called again.
    Calling,
    /// Called without an answer; it may have happened. It will be called again.
    Unknown,
    /// Answered, and the answer is in the books.
    Done,
    /// Will not be called any more.
    Dropped,
}

/// One call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The message that asked.
    pub cause: Cause,
    /// How far it is.
    pub progress: Progress,
}

/// Everything asked of the provider for one payment. Effects are called in the order they were asked for, one at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// The authorisation.
    pub authorize: Option<Asked>,
    /// The capture.
    pub capture: Option<Asked>,
    /// The void.
    pub void: Option<Asked>,
}

impl Effects {
    /// The effect of `step`.
    #[must_use]
    pub const fn get(&self, step: Step) -> Option<Asked> {
        match step {
            Step::Authorize => self.authorize,
            Step::Capture => self.capture,
            Step::Void => self.void,
        }
    }

    /// Records that `step` was asked for.
    pub const fn set(&mut self, step: Step, asked: Asked) {
        let slot = match step {
            Step::Authorize => &mut self.authorize,
            Step::Capture => &mut self.capture,
            Step::Void => &mut self.void,
        };
        *slot = Some(asked);
    }

    pub(crate) fn calling(&self, step: Step) -> Option<Cause> {
        self.get(step).filter(|asked| asked.progress == Progress::Calling).map(|asked| asked.cause)
    }

    /// Whether `step` waits to be called, for the first time or again.
    pub(crate) fn waiting(&self, step: Step) -> Option<Cause> {
        self.get(step).filter(|asked| matches!(asked.progress, Progress::Pending | Progress::Unknown)).map(|asked| asked.cause)
    }
}
