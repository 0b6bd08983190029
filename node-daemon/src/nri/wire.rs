//! NRI's bytes: ttrpc's messages, of two connections, in pieces over one socket. Reads them from pieces of any size and
//! writes short ones; never takes more memory than has come, nor more than a ttrpc message may have, nor any for the rest of
//! a message that nobody wants. Does no I/O.
//!
//! A piece: the connection's number and the piece's length (4 bytes each, big endian), then the bytes. A ttrpc message in
//! the bytes of a connection: length, stream (4 bytes each, big endian), kind and flags (1 byte each), then the body.
//! A message may be in several pieces, and a piece may have several messages.

#[cfg(test)]
mod tests;

/// As many bytes as a ttrpc message's body has at most, by ttrpc itself.
pub const MAX_BODY: usize = 4 << 20;
/// As many bytes as a piece of ours has at most: the other side reads a piece into a buffer of this size, and fails when
/// it has more (`bufio` of Go, and NRI's `multiplex`).
pub const MAX_OWN_PIECE: usize = 4096;
/// As much of a body's beginning as tells whether the rest is wanted: a call begins with its service and its method.
pub const HEAD: usize = 64;
/// ttrpc's header.
const HEADER: usize = 10;
/// A piece's header.
const PIECE_HEADER: usize = 8;
/// As many bytes as a piece has at most, by NRI itself.
const MAX_PIECE: usize = HEADER + MAX_BODY;

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// 1: the runtime calls the plugin.
    Plugin,
    /// 2: the plugin calls the runtime.
    Runtime,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Request,
    /// Its answer.
    Response,
    /// Anything else: part of a stream, which NRI has none of.
    Other(u8),
}

/// A message of ttrpc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// On which connection.
    pub connection: Connection,
    /// Which call it belongs to.
    pub stream: u32,
    /// What it is.
    pub kind: Kind,
    /// Its body.
    pub body: Vec<u8>,
    /// There was more, but the beginning said that it isn't wanted.
    pub cut: bool,
}

/// Bytes that aren't NRI's, or that must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A piece.
    #[error("a piece of {0} bytes, where NRI has at most {MAX_PIECE}")]
    Piece(usize),
    /// A message.
    #[error("a ttrpc message of {0} bytes, where ttrpc has at most {MAX_BODY}")]
    Body(usize),
    /// A message of ours.
    #[error(
        "a message of {0} bytes, where the other side reads at most {MAX_OWN_PIECE} in one piece"
    )]
    Own(usize),
}

/// Puts messages together.
#[derive(Debug)]
pub struct Incoming {
    /// Whether a body that begins so isn't wanted as a whole.
    unwanted: fn(&[u8]) -> bool,
    header: Header<PIECE_HEADER>,
    /// What of the piece is still to come, and whose it is. A piece of a connection that isn't ours is passed over.
    piece: Option<(Option<Connection>, usize)>,
    plugin: Assembly,
    runtime: Assembly,
}

/// A message that isn't there in full.
#[derive(Debug, Default)]
struct Assembly {
    header: Header<HEADER>,
    body: Vec<u8>,
    /// Whether what follows the head is passed over, and how much of it has been.
    cut: bool,
    passed: usize,
}

/// The first bytes of something.
#[derive(Debug)]
struct Header<const N: usize> {
    bytes: [u8; N],
    have: usize,
}

impl Connection {
    fn number(self) -> u32 {
        match self {
            Self::Plugin => 1,
            Self::Runtime => 2,
        }
    }

    fn of(number: u32) -> Option<Self> {
        [Self::Plugin, Self::Runtime]
            .into_iter()
            .find(|connection| connection.number() == number)
    }
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Response,
            other => Self::Other(other),
        }
    }
}

impl Message {
    /// Its bytes, in one piece.
    pub fn piece(&self) -> Result<Vec<u8>, WireError> {
        let length = HEADER + self.body.len();
        let (Ok(piece), Ok(body)) = (u32::try_from(length), u32::try_from(self.body.len())) else {
            return Err(WireError::Own(length));
        };
        if length > MAX_OWN_PIECE {
            return Err(WireError::Own(length));
        }
        let mut bytes = Vec::with_capacity(PIECE_HEADER + length);
        bytes.extend(self.connection.number().to_be_bytes());
        bytes.extend(piece.to_be_bytes());
        bytes.extend(body.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend([self.kind.number(), 0]);
        bytes.extend(&self.body);
        Ok(bytes)
    }
}

impl Incoming {
    /// Of bodies that begin so (with [`HEAD`] bytes) no more than that is kept.
    pub fn new(unwanted: fn(&[u8]) -> bool) -> Self {
        Self {
            unwanted,
            header: Header::default(),
            piece: None,
            plugin: Assembly::default(),
            runtime: Assembly::default(),
        }
    }

    /// Takes what has come, and gives the messages that are complete with it to `take`. After an error nothing more can
    /// be read.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Message),
    ) -> Result<(), WireError> {
        loop {
            let Some((connection, left)) = self.piece(&mut bytes)? else {
                return Ok(());
            };
            let (mut part, rest) = bytes.split_at(left.min(bytes.len()));
            bytes = rest;
            if left > part.len() {
                self.piece = Some((connection, left - part.len()));
            }
            let assembly = match connection {
                Some(Connection::Plugin) => Some((Connection::Plugin, &mut self.plugin)),
                Some(Connection::Runtime) => Some((Connection::Runtime, &mut self.runtime)),
                None => None,
            };
            if let Some((connection, assembly)) = assembly {
                while let Some(message) = assembly.feed(connection, self.unwanted, &mut part)? {
                    take(message);
                }
            }
            if self.piece.is_some() {
                return Ok(());
            }
        }
    }

    /// The piece that the next bytes belong to, and what of it is still to come; none while its header isn't there.
    fn piece(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<(Option<Connection>, usize)>, WireError> {
        if let Some(piece) = self.piece.take() {
            return Ok(Some(piece));
        }
        let Some([a, b, c, d, length @ ..]) = self.header.fill(bytes) else {
            return Ok(None);
        };
        self.header = Header::default();
        let length = number_of(&length);
        if length > MAX_PIECE {
            return Err(WireError::Piece(length));
        }
        let connection = Connection::of(u32::from_be_bytes([a, b, c, d]));
        Ok(Some((connection, length)))
    }

    /// Bytes that it holds.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.plugin.body.capacity() + self.runtime.body.capacity()
    }
}

impl Assembly {
    fn feed(
        &mut self,
        connection: Connection,
        unwanted: fn(&[u8]) -> bool,
        bytes: &mut &[u8],
    ) -> Result<Option<Message>, WireError> {
        let Some(header) = self.header.fill(bytes) else {
            return Ok(None);
        };
        let length = number_of(&header[..4]);
        if length > MAX_BODY {
            return Err(WireError::Body(length));
        }
        let head = length.min(HEAD);
        if self.body.len() < head {
            self.keep(head, bytes);
            if self.body.len() < head {
                return Ok(None);
            }
            self.cut = length > head && unwanted(&self.body);
        }
        if self.cut {
            let part = (length - head - self.passed).min(bytes.len());
            self.passed += part;
            *bytes = &bytes[part..];
        } else {
            self.keep(length, bytes);
        }
        if self.body.len() + self.passed < length {
            return Ok(None);
        }
        let Self { body, cut, .. } = std::mem::take(self);
        let [_, _, _, _, a, b, c, d, kind, _flags] = header;
        Ok(Some(Message {
            connection,
            stream: u32::from_be_bytes([a, b, c, d]),
            kind: Kind::of(kind),
            body,
            cut,
        }))
    }

    /// Keeps of the bytes what the body lacks to that length.
    fn keep(&mut self, length: usize, bytes: &mut &[u8]) {
        let (part, rest) = bytes.split_at((length - self.body.len()).min(bytes.len()));
        self.body.extend_from_slice(part);
        *bytes = rest;
    }
}

impl<const N: usize> Header<N> {
    /// Its bytes, once all of them are there; they stay until it is made anew.
    fn fill(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (part, rest) = bytes.split_at((N - self.have).min(bytes.len()));
        self.bytes[self.have..self.have + part.len()].copy_from_slice(part);
        self.have += part.len();
        *bytes = rest;
        (self.have == N).then_some(self.bytes)
    }
}

impl<const N: usize> Default for Header<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            have: 0,
        }
    }
}

/// Four bytes, big endian.
fn number_of(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
