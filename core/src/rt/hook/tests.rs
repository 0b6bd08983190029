//! The hook's words: real states of both runtimes, odd ones, and every text there and back.

use proptest::prelude::*;

use super::*;

const ID: &str = "3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d0001";

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect()
}

fn of_crio(kind: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = annotations(&[
        ("io.kubernetes.cri-o.ContainerType", kind),
        ("io.kubernetes.container.name", "main"),
        ("io.kubernetes.pod.name", "drive"),
        ("io.kubernetes.pod.namespace", "plant"),
        ("io.kubernetes.pod.uid", "0f1e"),
        ("io.kubernetes.cri-o.Annotations", "{\"much\":\"text\"}"),
    ]);
    all.extend(annotations(more));
    all
}

#[test]
fn a_state_as_runc_writes_it_is_read() {
    let text = format!(
        r#"{{"ociVersion":"1.2.1","id":"{ID}","status":"creating","pid":4711,"bundle":"/run/b",
            "annotations":{{"realtime":"true"}}}}"#
    );
    let state = State::parse(text.as_bytes()).unwrap();
    assert_eq!(
        state,
        State {
            id: ID.to_owned(),
            pid: Some(4711),
            bundle: Some("/run/b".to_owned()),
            annotations: Some(annotations(&[("realtime", "true")])),
        }
    );
    let least = State::parse(br#"{"id":"x","annotations":null}"#).unwrap();
    assert_eq!((least.pid, least.annotations), (None, None));
    for odd in ["", "{}", "[]", r#"{"id":1}"#, r#"{"id":"x","pid":-1}"#] {
        assert!(State::parse(odd.as_bytes()).is_err(), "{odd}");
    }
}

#[test]
fn only_a_container_that_asks_is_an_errand() {
    let of = |annotations: &BTreeMap<String, String>| Errand::of(ID, Some(7), annotations);
    assert_eq!(of(&of_crio("container", &[])), Errand::Nothing);
    let off = [("realtime", "false"), ("rt_runtime_us", "25000")];
    assert_eq!(of(&of_crio("container", &off)), Errand::Nothing);
    let asks = [("realtime", "true"), ("rt_runtime_us", "25000")];
    assert_eq!(of(&of_crio("sandbox", &asks)), Errand::Nothing);
    assert_eq!(of(&annotations(&asks)), Errand::Nobodys);
    let expected = Word {
        id: ID.to_owned(),
        pid: Some(7),
        namespace: "plant".to_owned(),
        pod: "drive".to_owned(),
        uid: Some("0f1e".to_owned()),
        container: "main".to_owned(),
        annotations: annotations(&asks),
    };
    assert_eq!(of(&of_crio("container", &asks)), Errand::Say(expected));
}

#[test]
fn a_word_is_believed_only_as_far_as_it_names_a_container() {
    let Errand::Say(good) = Errand::of(ID, None, &of_crio("container", &[("realtime", "true")]))
    else {
        panic!("an errand");
    };
    let (id, identity, _) = Word::parse(good.line().unwrap().as_bytes()).unwrap();
    assert_eq!(id.as_str(), ID);
    assert_eq!(identity.container.as_deref(), Some("main"));
    let with = |change: fn(&mut Word)| {
        let mut word = good.clone();
        change(&mut word);
        Word::parse(word.line().unwrap().as_bytes())
    };
    assert!(with(|word| word.id = "../../etc".to_owned()).is_err());
    assert!(with(|word| word.uid = Some("../..".to_owned())).is_err());
    assert!(with(|word| word.container.clear()).is_err());
    assert!(with(|word| word.namespace.clear()).is_err());
    let mut long = good;
    long.annotations
        .insert("realtime".to_owned(), "\"".repeat(MAX_WORD / 2));
    assert!(matches!(long.line(), Err(HookError::TooLong(_))));
}

#[test]
fn an_answer_is_one_line_whatever_its_reason() {
    assert_eq!(
        Answer::Applied.line().unwrap(),
        "{\"answer\":\"Applied\"}\n"
    );
    let refused = Answer::refused("no\nroom\u{1b}[31m");
    assert_eq!(
        refused,
        Answer::Refused {
            reason: "no room [31m".to_owned()
        }
    );
    let sent = "{\"answer\":\"Refused\",\"reason\":\"a\\nb\"}\n";
    let read = Answer::parse(sent.as_bytes()).unwrap();
    assert_eq!(read, Answer::refused("a b"));
    for odd in ["", "{}", r#"{"answer":"Perhaps"}"#, "Applied"] {
        assert!(Answer::parse(odd.as_bytes()).is_err(), "{odd}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_a_parser_fall(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = State::parse(&bytes);
        let _ = Specification::parse(&bytes);
        let _ = Word::parse(&bytes);
        let _ = Answer::parse(&bytes);
    }

    #[test]
    fn every_word_comes_as_it_was_sent(
        names in prop::array::uniform3("[^\u{0}]{1,20}"),
        texts in prop::collection::btree_map(".{0,20}", ".{0,40}", 0..5),
        pid in any::<Option<u32>>(),
    ) {
        let [namespace, pod, container] = names;
        let word = Word {
            id: ID.to_owned(), pid, namespace, pod, uid: None, container, annotations: texts,
        };
        let line = word.line().unwrap();
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(Word::parse(line.as_bytes()).unwrap().2, word);
    }

    #[test]
    fn every_answer_comes_as_it_was_sent(reason in ".{0,2000}") {
        let answer = Answer::refused(&reason);
        let line = answer.line().unwrap();
        prop_assert!(line.len() <= MAX_ANSWER);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(Answer::parse(line.as_bytes()).unwrap(), answer);
    }
}
