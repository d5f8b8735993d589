"""Check a dataset before training: what is there, what is missing, what is wrong.

torchreid-vi check-data sysu_mm01 --root /data
torchreid-vi check-data vi_folder --root footage --sheet people.jpg

The status is 0 when nothing is wrong, 1 when something is, and 2 when the dataset cannot be read at
all.
"""

from __future__ import annotations

from torchreid_vi.cli import common
from torchreid_vi.data.checking import Finding, examine, overview
from torchreid_vi.data.datasets import dataset_named, require_split
from torchreid_vi.engine.evaluator import check_default_protocols
from torchreid_vi.errors import InputError
from torchreid_vi.report.contact_sheet import contact_sheet


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument(
        "dataset", help="sysu_mm01, regdb, llcm, vi_labelled, vi_folder, or another registered one"
    )
    parser.add_argument("--root", default="reid-data", help="folder that holds the datasets' folders")
    parser.add_argument("--split", type=int, default=1, help="which split, from 1, where there are several")
    parser.add_argument("--sheet", type=common.picture_file, help="also draw some people there")
    parser.add_argument("--people", choices=("shown", "blurred"), default="shown", help="or hide their heads")
    parser.add_argument("--all", action="store_true", help="name all files, not the first three")
    args = parser.parse_args(arguments)

    def work() -> int:
        cls = dataset_named(args.dataset)
        require_split([args.dataset], args.split - 1)
        dataset, findings = examine(cls, args.root, args.split - 1)
        try:
            check_default_protocols(dataset)
        except InputError as error:
            if str(error) not in {finding.what for finding in findings}:
                findings.append(Finding(str(error), []))
        print(f"{dataset.root}\n{'part':<10}{'identities':>12}{'visible':>10}{'infrared':>10}")
        for part in overview(dataset):
            print(f"{part.name:<10}{part.identities or '–':>12}{part.visible:>10,}{part.infrared:>10,}")
        for finding in findings:
            shown = finding.where if args.all else finding.where[:3]
            more = len(finding.where) - len(shown)
            print("\n   ".join([f"=> {finding.what}", *shown, *[f"and {more} more"] * bool(more)]))
        if not findings:
            print("=> Nothing is wrong")
        if args.sheet:
            common.save(contact_sheet(dataset, blurred=args.people == "blurred"), args.sheet)
        return 1 if findings else 0

    return common.status(work, args)
