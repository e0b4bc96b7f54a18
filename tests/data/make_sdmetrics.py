"""What SDMetrics and scikit-learn say of fixed tables, written to ``tests/data/sdmetrics.json``.

Run in an environment of its own: ``pip install sdmetrics==0.32.0 scikit-learn==1.9.1``.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.single_column import KSComplement, TVComplement
from sdmetrics.single_table import NewRowSynthesis
from sklearn.mixture import BayesianGaussianMixture

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
from golden_tables import KINDS, PLAIN, modal, tables


def scores():
    real, synthetic, copied = (
        pd.DataFrame(rows, columns=[*PLAIN, *KINDS]).astype(dict.fromkeys(KINDS, int)) for rows in tables()
    )
    columns = {name: {"sdtype": "numerical"} for name in PLAIN} | {name: {"sdtype": "categorical"} for name in KINDS}

    def contingency(*pair):
        plain = [name for name in pair if name in PLAIN]
        return ContingencySimilarity.compute(real[[*pair]], synthetic[[*pair]], plain)

    def correlation(*pair):
        return CorrelationSimilarity.compute(real[[*pair]], synthetic[[*pair]])

    return {
        "ks": [KSComplement.compute(real[name], synthetic[name]) for name in PLAIN],
        "tv": [TVComplement.compute(real[name], synthetic[name]) for name in KINDS],
        "correlation": [correlation("a", "b"), correlation("a", "c"), correlation("b", "c")],
        "contingency": [[contingency(name, kind) for name in PLAIN] for kind in KINDS],
        "contingency_of_discrete": contingency(*KINDS),
        "new_rows": NewRowSynthesis.compute(real, copied, {"columns": columns}),
    }


def mixture():
    values = modal()[:, None]
    model = BayesianGaussianMixture(
        n_components=10,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        n_init=1,
        random_state=0,
    ).fit(values)
    return {"modes": int((model.weights_ > 0.005).sum()), "log_likelihood": float(model.score(values))}


def main():
    warnings.simplefilter("ignore")
    versions = {name: version(name) for name in ("sdmetrics", "scikit-learn", "numpy", "scipy")}
    out = {"versions": versions, **scores(), "mixture": mixture()}
    Path(__file__).with_name("sdmetrics.json").write_text(json.dumps(out, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
