//! Messages: from bytes to a request, and from a reply to bytes (RFC 1035,
//! section 4; RFC 6891 for EDNS).
//!
//! `bytes -> header -> counts -> Request | an answer that says why not | silence`

use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::zone::Reply;

/// A message's header.
const HEADER: usize = 12;
/// The largest query that is read; a question with its options is far smaller.
pub(super) const MAX_QUERY: usize = 4096;
/// UDP without EDNS (RFC 1035, 4.2.1).
const PLAIN: u16 = 512;
/// UDP with EDNS, at most: what passes every path in one piece (RFC 9715).
pub(super) const PAYLOAD: u16 = 1232;
/// A name of one byte, type, class; TTL and length as well for a record.
const LEAST_QUERY: usize = 5;
const LEAST_RECORD: usize = 11;

/// How it came, and so how large the answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// One packet.
    Udp,
    /// Up to 65,535 bytes.
    Tcp,
}

/// A question that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) query: Query,
    /// Asks upstream not to validate.
    pub(super) checking_disabled: bool,
    /// Wants to hear whether upstream validated.
    pub(super) authentic_data: bool,
    pub(super) recursion_desired: bool,
    /// Wants signatures as well.
    pub(super) dnssec_ok: bool,
    id: u16,
    /// The payload that the client takes, if it speaks EDNS.
    edns: Option<u16>,
    transport: Transport,
}

/// What isn't a question that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Nothing is said: it is no question, and an answer could begin a loop.
    Drop,
    /// This says why.
    Answer(Vec<u8>),
}

impl Request {
    /// Reads a packet.
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Result<Self, Unfit> {
        let header = header(bytes).ok_or(Unfit::Drop)?;
        if header.message_type != MessageType::Query || bytes.len() > MAX_QUERY {
            return Err(Unfit::Drop);
        }
        let refuse = |code| Unfit::Answer(bare(&header.metadata, code));
        if header.op_code != OpCode::Query {
            return Err(refuse(ResponseCode::NotImp));
        }
        let counts = header.counts;
        // Some clients pad or sign: those records come after the question.
        if counts.queries != 1 || counts.answers != 0 || counts.authorities != 0 || !fits(bytes) {
            return Err(refuse(ResponseCode::FormErr));
        }
        let message = Message::from_vec(bytes).map_err(|_| refuse(ResponseCode::FormErr))?;
        let metadata = message.metadata;
        let [query] = message.queries.as_slice() else {
            return Err(refuse(ResponseCode::FormErr));
        };
        let request = Self {
            query: query.clone(),
            checking_disabled: metadata.checking_disabled,
            authentic_data: metadata.authentic_data,
            recursion_desired: metadata.recursion_desired,
            dnssec_ok: message.edns.as_ref().is_some_and(|e| e.flags().dnssec_ok),
            id: metadata.id,
            edns: message.edns.as_ref().map(Edns::max_payload),
            transport,
        };
        // RFC 6891, 6.1.3.
        if message.version() > 0 {
            return Err(Unfit::Answer(request.error(ResponseCode::BADVERS)));
        }
        if query.query_class != DNSClass::IN {
            return Err(Unfit::Answer(request.error(ResponseCode::Refused)));
        }
        if matches!(query.query_type, RecordType::OPT | RecordType::TSIG) {
            return Err(Unfit::Answer(request.error(ResponseCode::FormErr)));
        }
        Ok(request)
    }

    /// The zone's own answer.
    pub(super) fn local(&self, reply: Reply) -> Vec<u8> {
        let mut message = self.message(reply.code);
        message.metadata.authoritative = reply.code != ResponseCode::Refused;
        message.answers = reply.answers;
        message.authorities = reply.authorities;
        self.encode(&message)
    }

    /// Nothing but a code.
    pub(super) fn error(&self, code: ResponseCode) -> Vec<u8> {
        self.encode(&self.message(code))
    }

    /// What a server has answered, in our own words.
    pub(super) fn relayed(&self, theirs: Message) -> Vec<u8> {
        let mut message = self.message(theirs.metadata.response_code);
        message.metadata.authentic_data =
            theirs.metadata.authentic_data && (self.authentic_data || self.dnssec_ok);
        message.metadata.checking_disabled = self.checking_disabled;
        message.answers = theirs.answers;
        message.authorities = theirs.authorities;
        message.additionals = theirs.additionals;
        self.encode(&message)
    }

    /// The same question in our own words, for a server: its id is random.
    pub(super) fn forwarded(&self, edns: bool) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(self.query.clone());
        if edns {
            message.set_edns(options(self.dnssec_ok));
        }
        message
    }

    fn message(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        // The upper bits of a code travel in EDNS alone.
        message.metadata.response_code = match (code.high(), self.edns) {
            (1.., None) => ResponseCode::ServFail,
            _ => code,
        };
        message.add_query(self.query.clone());
        if self.edns.is_some() {
            message.set_edns(options(self.dnssec_ok));
        }
        message
    }

    /// The most that the client takes.
    pub(super) fn limit(&self) -> usize {
        let most = match (self.transport, self.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN,
            (Transport::Udp, Some(payload)) => payload.clamp(PLAIN, PAYLOAD),
        };
        most.into()
    }

    /// Whole where it fits; otherwise without a record, so that the client asks
    /// again over TCP (RFC 2181, section 9: a part of a set is of no use).
    fn encode(&self, message: &Message) -> Vec<u8> {
        let whole = message.to_vec().ok();
        // What doesn't fit into any message is cut by the encoder itself.
        let uncut = |bytes: &Vec<u8>| bytes.len() <= self.limit() && !truncated(bytes);
        if let Some(bytes) = whole.filter(uncut) {
            return bytes;
        }
        let mut cut = self.message(message.metadata.response_code);
        cut.metadata.truncation = self.transport == Transport::Udp;
        if self.transport == Transport::Tcp {
            cut.metadata.response_code = ResponseCode::ServFail;
        }
        cut.to_vec()
            .ok()
            .filter(|bytes| bytes.len() <= self.limit())
            .unwrap_or_else(|| bare(&cut.metadata, ResponseCode::ServFail))
    }
}

/// A server's answer to this query of ours; `None`: it is something else.
pub(super) fn answer(bytes: &[u8], asked: &Message) -> Option<Message> {
    let header = header(bytes)?;
    let ours = header.id == asked.metadata.id
        && header.message_type == MessageType::Response
        && header.op_code == OpCode::Query;
    if !ours || header.counts.queries != 1 || !fits(bytes) {
        return None;
    }
    let message = Message::from_vec(bytes).ok()?;
    let ([theirs], [own]) = (message.queries.as_slice(), asked.queries.as_slice()) else {
        return None;
    };
    let same = theirs.name.eq_case(&own.name)
        && theirs.query_type == own.query_type
        && theirs.query_class == own.query_class;
    same.then_some(message)
}

/// Every record of an answer.
pub(super) fn records(message: &Message) -> impl Iterator<Item = &Record> {
    let sections = [&message.answers, &message.authorities, &message.additionals];
    sections.into_iter().flatten()
}

fn options(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns.set_dnssec_ok(dnssec_ok);
    edns
}

fn header(bytes: &[u8]) -> Option<Header> {
    Header::read(&mut BinDecoder::new(bytes.get(..HEADER)?)).ok()
}

/// Whether so many records can stand in so few bytes. The decoder makes room
/// for as many as the header says before it reads one.
fn fits(bytes: &[u8]) -> bool {
    let Some(counts) = header(bytes).map(|header| header.counts) else {
        return false;
    };
    let records = [counts.answers, counts.authorities, counts.additionals];
    let records: usize = records.into_iter().map(usize::from).sum();
    let least = HEADER + usize::from(counts.queries) * LEAST_QUERY + records * LEAST_RECORD;
    bytes.len() >= least
}

fn truncated(bytes: &[u8]) -> bool {
    header(bytes).is_some_and(|header| header.truncation)
}

/// A header alone: the question itself could not be read.
fn bare(asked: &Metadata, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::response(asked.id, asked.op_code);
    message.metadata.recursion_desired = asked.recursion_desired;
    message.metadata.response_code = code;
    message.to_vec().unwrap_or_default()
}
