"""Values that cross the border of a room, and the protocols of the plugins; one file a noun.

Those that hold arrays are compared by identity. Shapes use one alphabet: N samples, M rows of a subset, D embedding
width, C classes, B batch, H W px, K folds, R repeats. `rows` fields hold positions in `Dataset.uris`.
"""

from headstart.core.types.audit import Audit, AuditInput, DataCheck, Finding, Outcome, Severity, Splits
from headstart.core.types.backbone import (
    OWN_RANGES,
    BackboneSource,
    BackboneSpec,
    Capabilities,
    FeatureLevel,
    InputSpec,
    PixelRanges,
)
from headstart.core.types.dataset import MEASURES, Dataset, DatasetFacts, PictureReading, SkippedFile
from headstart.core.types.domain import (
    NETWORK_METHODS,
    NO_ADAPTATION,
    TRAINED_METHODS,
    AdaptationTrial,
    AdaptedTarget,
    DomainAdaptation,
    DomainShift,
    FeatureShift,
    NetworkCandidate,
    TargetDomain,
)
from headstart.core.types.embedding import Embeddings, EmbedKey
from headstart.core.types.explanation import Explained, MapRow, PictureMap
from headstart.core.types.export import Export, Exported, ScoreChange
from headstart.core.types.head import (
    CurvePoint,
    Feature,
    FittedHead,
    Head,
    HeadRow,
    IterativeHead,
    NameInitialization,
    StartingHead,
)
from headstart.core.types.prediction import (
    NO_LABEL,
    PRESENT,
    UNKNOWN,
    AnswerLayout,
    Prediction,
    ZeroShotPrediction,
    format_labels,
)
from headstart.core.types.ranking import Ranking, RankRow
from headstart.core.types.result import (
    AblationRow,
    Calibrated,
    Evaluation,
    FitResult,
    OodDetector,
    UncertaintyReport,
    list_verdicts,
)
from headstart.core.types.score import CalibrationBin, Score, Verdict
from headstart.core.types.task import CLASSIFICATION, MULTILABEL, ORDINAL, REGRESSION, TASKS, UNLABELLED, Task
from headstart.core.types.training import (
    ClassScores,
    Diagnosis,
    EpochRow,
    EpochScores,
    FineTuningResult,
    LabelScores,
    ModelCheck,
    NumberScores,
    TrainingInput,
    TrainingLog,
    Trial,
    TunedNetwork,
)

__all__ = ["Audit", "AuditInput", "DataCheck", "Finding", "Outcome", "Severity", "Splits"]
__all__ += ["BackboneSource", "BackboneSpec", "Capabilities", "FeatureLevel", "InputSpec"]
__all__ += ["OWN_RANGES", "PixelRanges"]
__all__ += ["MEASURES", "Dataset", "DatasetFacts", "PictureReading", "SkippedFile"]
__all__ += ["NO_ADAPTATION", "AdaptationTrial", "DomainAdaptation", "DomainShift", "FeatureShift", "TargetDomain"]
__all__ += ["NETWORK_METHODS", "TRAINED_METHODS", "AdaptedTarget", "NetworkCandidate"]
__all__ += ["EmbedKey", "Embeddings"]
__all__ += ["Explained", "MapRow", "PictureMap"]
__all__ += ["Export", "Exported", "ScoreChange"]
__all__ += ["CurvePoint", "Feature", "FittedHead", "Head", "HeadRow", "IterativeHead", "NameInitialization"]
__all__ += ["StartingHead"]
__all__ += ["NO_LABEL", "PRESENT", "UNKNOWN", "AnswerLayout", "Prediction", "ZeroShotPrediction", "format_labels"]
__all__ += ["RankRow", "Ranking"]
__all__ += ["AblationRow", "Calibrated", "Evaluation", "FitResult", "OodDetector", "UncertaintyReport", "list_verdicts"]
__all__ += ["CalibrationBin", "Score", "Verdict"]
__all__ += ["CLASSIFICATION", "MULTILABEL", "ORDINAL", "REGRESSION", "TASKS", "UNLABELLED", "Task"]
__all__ += ["ClassScores", "Diagnosis", "EpochRow", "EpochScores", "FineTuningResult", "LabelScores", "ModelCheck"]
__all__ += ["NumberScores"]
__all__ += ["TrainingInput", "TrainingLog", "Trial", "TunedNetwork"]
