"""Operators on what comes after an appraisal that left a state. See tampering.py."""

import imalog
import machines
from tampering import DoesNotApply, Subject, first, harmless, operator

REGRESSED = "tpm.counters_regressed"
MISMATCH = "ima.pcr_mismatch"


def again(s: Subject, capture: machines.Capture, quote: machines.Quote) -> machines.Case:
    made = machines.case_of(capture, quote, policy=s.case.policy, options=s.case.options)
    return made.change(state=s.state)


@operator("replay", REGRESSED, only=True)
def same_quote_again(s):
    """With its nonce, as if the verifier had asked for it twice."""
    return s.case.change(state=s.state)


@operator("replay", REGRESSED, only=True)
def quote_with_an_older_clock(s):
    old = (q for q in s.capture.quotes if q.is_whole and q.attest.clock < s.quote.attest.clock and not s.capture.is_padded(q))
    return again(s, s.capture, first(old, "it is the first one"))


@operator("replay", REGRESSED, only=True)
def quote_of_the_boot_before(s):
    old = ((c, q) for c in s.other_boots for q in c.quotes if q.is_whole and q.attest.reset < s.quote.attest.reset)
    return again(s, *first(old, "no boot before"))


def news(s: Subject) -> list[imalog.Entry]:
    """Of the list, what the state does not know."""
    known = len(first(s.moments_before, "nothing was before").entries)
    if known >= len(s.entries):
        raise DoesNotApply("nothing happened since")
    return s.entries[known:]


def with_news(s: Subject, entries: list[imalog.Entry]) -> machines.Case:
    return s.case.change(state=s.state, ima=imalog.encode(entries))


@harmless("news")
def only_the_news(s):
    """The list goes on where the state ends."""
    return with_news(s, news(s))


@harmless("news")
def the_whole_list_again(s):
    """What is known already is skipped."""
    news(s)
    return s.case.change(state=s.state)


@operator("news", MISMATCH)
def news_with_a_gap(s):
    return with_news(s, news(s)[1:])


@operator("news", MISMATCH)
def news_one_less(s):
    return with_news(s, news(s)[:-1])


@operator("news", MISMATCH)
def news_kept_back(s):
    news(s)
    return with_news(s, [])


@operator("news", MISMATCH)
def news_in_reverse(s):
    return with_news(s, news(s)[::-1])


@operator("news", MISMATCH)
def news_doubled(s):
    return with_news(s, news(s)[:1] + news(s))


@operator("news", MISMATCH)
def news_changed(s):
    made = news(s)
    return with_news(s, [made[0].with_path(b"/usr/bin/other")] + made[1:])


@operator("news", "ima.boot_aggregate_repeated")
def news_of_a_new_kernel(s):
    """It begins with a boot_aggregate, in the middle of a boot."""
    known = first(s.moments_before, "nothing was before").entries
    return s.case.change(state=s.state, ima=imalog.encode(known + s.entries[:1] + news(s)))


@operator("news", MISMATCH)
def list_that_ends_before_the_news(s):
    known = first(s.moments_before, "nothing was before").entries
    news(s)
    return s.case.change(state=s.state, ima=imalog.encode(known))
