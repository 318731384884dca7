"""The files that a test leaves: JSON always; Markdown, CSV and an HTML page where asked for."""

import json
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from engine.report import as_json
from engine.run_folder import git_commit, versions
from scoring.files import as_csv, summary_as_json
from scoring.findings import Findings
from scoring.page import page
from scoring.tables import markdown_report
from system.whole_file import write_text


def write_files(findings: Findings, options: Namespace, place: Path) -> list[Path]:
    """Write the files that the options ask for; returns them, the log's place included.

    Args:
        findings: of this test.
        options: of test_final.py.
        place: of the log and the JSON, without suffix.

    Raises:
        OSError: one can't be written.

    """
    written = {place.with_suffix(".json"): _json(findings, options)}
    if options.json:
        written[Path(options.json)] = _json(findings, options)
    if options.markdown:
        written[Path(options.markdown)] = markdown_report(findings)
    if options.csv:
        written[Path(options.csv)] = as_csv(findings)
    if options.report:
        facts = {
            "scored": time.strftime("%Y-%m-%d %H:%M"),
            "device": findings.device,
            "commit": git_commit() or "none",
            **versions(),
        }
        written[Path(options.report)] = page(findings, facts)
    for path, text in written.items():
        write_text(path, text)
    return [*written, place.with_suffix(".log")]


def _json(findings: Findings, options: Namespace) -> str:
    told = {summary.path: summary_as_json(summary) for summary in findings.summaries}
    contents = {
        "options": vars(options),
        "versions": versions(),
        "git_commit": git_commit(),
        "sets": [asdict(one) for one in findings.contents],
        "checkpoints": {
            path: told.get(path) or as_json(scores)
            for path, scores in findings.scores_by_path.items()
        },
        "comparisons": [asdict(one) for one in findings.comparisons],
        "not_scored": list(findings.not_scored),
    }
    return json.dumps(contents, indent=2) + "\n"
