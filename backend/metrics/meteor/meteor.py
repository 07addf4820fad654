"""METEOR by NLTK, mean over rows; words and their stems are matched, synonyms are not, for want of WordNet."""

import nltk.tokenize.destructive
import nltk.translate.meteor_score

from backend.metrics import Array, Texts, compute, each, mean


class NoSynonyms:
    """Stands where WordNet would."""

    def synsets(self, word: str) -> list[str]:
        return []


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: METEOR, 1."""
    words = nltk.tokenize.destructive.NLTKWordTokenizer().tokenize
    score = nltk.translate.meteor_score.single_meteor_score
    scored = [
        score(words(reference), words(answer), wordnet=NoSynonyms())
        for answer, reference in zip(predictions, references, strict=True)
    ]
    return each(scored)


value = mean("meteor")


Meteor = compute("meteor", __doc__, rows, value, predictions="string", references="string")
