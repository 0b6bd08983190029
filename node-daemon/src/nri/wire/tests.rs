//! What holds for all bytes.

use proptest::prelude::*;

use super::*;

fn message() -> impl Strategy<Value = Message> {
    let connection = prop_oneof![Just(Connection::Plugin), Just(Connection::Runtime)];
    let body = prop::collection::vec(any::<u8>(), 0..90);
    (connection, any::<u32>(), any::<u8>(), body).prop_map(|(connection, stream, kind, body)| {
        Message {
            connection,
            stream,
            kind: Kind::of(kind),
            body,
            cut: false,
        }
    })
}

/// A message's bytes in pieces of at most `size`, as a sender with a small buffer writes them.
fn pieces(message: &Message, size: usize) -> Vec<Vec<u8>> {
    let whole = message.piece().unwrap();
    let (header, bytes) = whole.split_at(PIECE_HEADER);
    bytes
        .chunks(size)
        .map(|part| {
            let mut piece = header[..4].to_vec();
            piece.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            piece.extend(part);
            piece
        })
        .collect()
}

fn read(incoming: &mut Incoming, chunks: &[&[u8]]) -> Result<Vec<Message>, WireError> {
    let mut read = Vec::new();
    for chunk in chunks {
        incoming.feed(chunk, |message| read.push(message))?;
    }
    Ok(read)
}

proptest! {
    /// However the bytes are cut, by the sender and on the way, the messages are the same.
    #[test]
    fn what_is_sent_arrives(
        sent in prop::collection::vec((message(), 1_usize..60), 0..12),
        cut in 1_usize..70,
        foreign in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (message, size) in &sent {
            // A connection that nobody here knows.
            bytes.extend(7_u32.to_be_bytes());
            bytes.extend(u32::try_from(foreign.len()).unwrap().to_be_bytes());
            bytes.extend(&foreign);
            bytes.extend(pieces(message, *size).concat());
        }
        let mut incoming = Incoming::new(|_| false);
        let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
        let read = read(&mut incoming, &chunks).unwrap();
        let sent: Vec<Message> = sent.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(read, sent);
        prop_assert_eq!(incoming.held(), 0);
    }

    /// Of what isn't wanted only the beginning is kept, and what follows it is whole.
    #[test]
    fn what_is_not_wanted_takes_no_memory(
        sent in prop::collection::vec(message(), 0..12),
        size in 1_usize..60,
        cut in 1_usize..70,
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|message| pieces(message, size).concat()).collect();
        let mut incoming = Incoming::new(|head| head[0] % 2 == 0);
        let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
        let read = read(&mut incoming, &chunks).unwrap();
        let expected: Vec<Message> = sent
            .into_iter()
            .map(|mut message| {
                message.cut = message.body.len() > HEAD && message.body[0] % 2 == 0;
                if message.cut {
                    message.body.truncate(HEAD);
                }
                message
            })
            .collect();
        prop_assert_eq!(read, expected);
    }

    /// Messages of both connections whose pieces alternate.
    #[test]
    fn the_two_connections_do_not_mix(one in message(), two in message(), size in 1_usize..9) {
        let one = Message { connection: Connection::Plugin, ..one };
        let two = Message { connection: Connection::Runtime, ..two };
        let (first, second) = (pieces(&one, size), pieces(&two, size));
        let mut bytes = Vec::new();
        for index in 0..first.len().max(second.len()) {
            bytes.extend(first.get(index).into_iter().flatten());
            bytes.extend(second.get(index).into_iter().flatten());
        }
        let read = read(&mut Incoming::new(|_| false), &[&bytes]).unwrap();
        prop_assert_eq!(read.len(), 2);
        prop_assert!(read.contains(&one) && read.contains(&two));
    }

    /// Any bytes: messages or an error, and never more memory than they have themselves, but for a vector's growth.
    #[test]
    fn any_bytes_are_harmless(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let mut incoming = Incoming::new(|_| false);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let given: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let _ = read(&mut incoming, &chunks);
        prop_assert!(incoming.held() <= 2 * given + 16);
    }

    /// The same with headers that are right, and lengths that lie.
    #[test]
    fn lengths_that_lie_are_harmless(piece in any::<u32>(), body in any::<u32>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut sent = vec![0, 0, 0, 1];
        sent.extend(piece.to_be_bytes());
        sent.extend(body.to_be_bytes());
        sent.extend(bytes);
        let mut incoming = Incoming::new(|_| false);
        let read = read(&mut incoming, &[&sent]);
        prop_assert!(incoming.held() <= 2 * sent.len() + 16);
        if usize::try_from(piece).unwrap() > MAX_PIECE {
            prop_assert_eq!(read, Err(WireError::Piece(usize::try_from(piece).unwrap())));
        }
    }
}

#[test]
fn a_message_may_be_as_long_as_ttrpc_allows_and_no_longer() {
    let message = |length: u32| {
        let mut bytes = 1_u32.to_be_bytes().to_vec();
        bytes.extend((length + 10).to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 5, 1, 0]);
        bytes
    };
    let longest = u32::try_from(MAX_BODY).unwrap();
    let mut incoming = Incoming::new(|_| false);
    let body = vec![0; MAX_BODY];
    let all = read(&mut incoming, &[&message(longest), &body]).unwrap();
    assert_eq!((all.len(), all[0].body.len()), (1, MAX_BODY));

    let too_long = read(&mut Incoming::new(|_| false), &[&message(longest + 1)]);
    assert_eq!(too_long, Err(WireError::Piece(MAX_PIECE + 1)));
    // In a piece that is allowed.
    let mut bytes = message(longest + 1);
    bytes[7] = 20;
    bytes[5] = 0;
    let too_long = read(&mut Incoming::new(|_| false), &[&bytes]);
    assert_eq!(too_long, Err(WireError::Body(MAX_BODY + 1)));
}

#[test]
fn a_message_of_ours_fits_the_other_sides_buffer() {
    let message = |length: usize| Message {
        connection: Connection::Plugin,
        stream: 1,
        kind: Kind::Response,
        body: vec![0; length],
        cut: false,
    };
    assert!(message(MAX_OWN_PIECE - HEADER).piece().is_ok());
    let refused = message(MAX_OWN_PIECE - HEADER + 1).piece();
    assert_eq!(refused, Err(WireError::Own(MAX_OWN_PIECE + 1)));
}
