"""When two texts are the same, as each published rule has it. Ours is `overlay.action.match.same_text`."""

from Levenshtein import distance

from overlay.action.action import Action, plain

ENOUGH = 0.5  # of the scores that GUI-Odyssey and GUI-R1 cut


def texts(answer: Action, gold: Action) -> tuple[str, str]:
    """Both texts as they stand."""
    return plain(answer.parameter), plain(gold.parameter)


def contained(answer: str, gold: str) -> bool:
    """AgentCPM, InfiGUI, UI-S1: case and outer spaces aside, one holds the other; an empty text is held by any."""
    one, other = answer.lower().strip(), gold.lower().strip()
    return one in other or other in one


def odyssey(answer: str, gold: str) -> bool:
    """GUI-Odyssey: one holds the other, or at most half of the longer one's characters have to change."""
    one, other = answer.strip(), gold.strip()
    if one in other or other in one:
        return True
    return 1 - distance(one, other) / max(len(one), len(other)) >= ENOUGH


def shared_words(answer: str, gold: str) -> bool:
    """GUI-R1: F1 of the sets of words at least 0.5; of two single words, one holds the other."""
    one, other = (set(text.replace("[", "").replace("]", "").lower().split()) for text in (answer, gold))
    if len(one) == len(other) == 1:
        (a,), (b,) = one, other
        if a in b or b in a:
            return True
    common = len(one & other)
    if not common:
        return False
    precision, recall = common / len(one), common / len(other)
    return 2 * (precision * recall) / (precision + recall) >= ENOUGH  # rounded as theirs is
