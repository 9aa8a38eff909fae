"""Who may do what: the least policy of the person that submits, and of the role that a job takes on."""

from __future__ import annotations

from typing import Any


def make_submitter_policy(bucket: str, role: str, region: str, account: str) -> dict[str, Any]:
    """The least that submitting, following, fetching, cancelling and deploying need."""
    arn = f"arn:aws:sagemaker:{region}:{account}"
    logs = f"arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/TrainingJobs"
    jobs = ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags")
    endpoints = [
        f"{verb}{noun}" for verb in ("Create", "Describe", "Delete") for noun in ("Model", "EndpointConfig", "Endpoint")
    ]
    places = [f"{arn}:{kind}/*" for kind in ("model", "endpoint-config", "endpoint")]
    condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return _make_policy(
        _allow("TrainingJobs", [f"sagemaker:{name}" for name in jobs], [f"{arn}:training-job/*"]),
        _allow("Endpoints", [f"sagemaker:{name}" for name in endpoints], places),
        _allow("Logs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], [logs, f"{logs}:log-stream:*"]),
        _allow("Bucket", ["s3:ListBucket", "s3:GetBucketLocation"], [f"arn:aws:s3:::{bucket}"]),
        _allow("Objects", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [f"arn:aws:s3:::{bucket}/*"]),
        _allow("Role", ["iam:GetRole"], [role]),
        _allow("PassRole", ["iam:PassRole"], [role]) | {"Condition": condition},
    )


def make_role_policy(bucket: str, region: str, account: str) -> dict[str, Any]:
    """The least that the job itself needs: its objects, its log, its image; data of other buckets come on top."""
    logs = f"arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/*"
    write_logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    images = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return _make_policy(
        _allow("Bucket", ["s3:ListBucket", "s3:GetBucketLocation"], [f"arn:aws:s3:::{bucket}"]),
        _allow("Objects", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [f"arn:aws:s3:::{bucket}/*"]),
        _allow("Logs", write_logs, [logs]),
        _allow("Images", [*images, "ecr:BatchCheckLayerAvailability"], ["*"]),
    )


def make_trust_policy() -> dict[str, Any]:
    """Lets SageMaker take on the role."""
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _make_policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(name: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}
