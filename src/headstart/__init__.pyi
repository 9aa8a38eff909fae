"""headstart: transfer learning that a person can trust. What editors and type checkers read of the lazy names."""

from headstart.api.actions import compare as compare
from headstart.api.actions import drift as drift
from headstart.api.actions import explain as explain
from headstart.api.actions import export as export
from headstart.api.actions import predict as predict
from headstart.api.actions import suggest as suggest
from headstart.api.commands import audit as audit
from headstart.api.commands import demo as demo
from headstart.api.commands import embed as embed
from headstart.api.commands import evaluate as evaluate
from headstart.api.commands import fit as fit
from headstart.api.commands import rank as rank
from headstart.api.commands import report as report
from headstart.api.run import Run as Run
from headstart.api.run import load as load
from headstart.api.zeroshot import zeroshot as zeroshot
from headstart.core.errors import HeadstartError as HeadstartError
from headstart.core.job import Job as Job
from headstart.core.recipe import Recipe as Recipe

__version__: str
