"""What a bucket's server or the way to it says, in our words: where, what, why, and what to do."""

from __future__ import annotations

import errno
from typing import Any

from orchestrator.contract.store import StorageAway, StorageRefused

_KEYS_WRONG = "see that the keys are right and not run out"
_REGION = "set AWS_REGION to the bucket's region"
_REFUSALS = {
    "NoSuchBucket": ("there is no such bucket", "make it, or correct the storage URL"),
    "InvalidBucketName": ("a bucket cannot be called that", "correct the storage URL"),
    "AccessDenied": (
        "access is refused",
        "let the keys list the prefix, and read, write and delete objects below it",
    ),
    "InvalidAccessKeyId": ("the server does not know the access key", _KEYS_WRONG),
    "XAdminUserNotFound": ("the server does not know the access key", _KEYS_WRONG),  # versitygw
    "SignatureDoesNotMatch": ("the secret key is wrong", _KEYS_WRONG),
    "ExpiredToken": ("the session's keys have run out", "renew them"),
    "InvalidToken": ("the session token is wrong", _KEYS_WRONG),
    "RequestTimeTooSkewed": ("the server's clock and ours differ", "set this machine's clock"),
    "PermanentRedirect": ("the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", _REGION),
    "NotImplemented": (
        "the server does not know this request",
        "take one that knows S3's conditional writes",
    ),
    "PreconditionFailed": ("the object changed while it was read", "try again"),
}
_REFUSALS |= {
    "403": _REFUSALS["AccessDenied"],
    "301": _REFUSALS["PermanentRedirect"],
    "TokenRefreshRequired": _REFUSALS["ExpiredToken"],
    "IllegalLocationConstraintException": _REFUSALS["PermanentRedirect"],
}
_FULL = ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507")
_BUSY = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ConditionalRequestConflict")
_NO_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a secret: s3://<secret>@<bucket>/<prefix>"
)


def in_our_words(error: Exception, bucket: str, key: str, endpoint: str) -> OSError:
    """The error to raise for one of botocore's, about `key` of the bucket at the URL `bucket`."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _answered(error.response, bucket, key, endpoint)
    text = " ".join(str(error).split())
    no_keys = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
    )
    if isinstance(error, no_keys):
        return _refused(bucket, "no keys open it here", _NO_KEYS, text)
    if isinstance(error, exceptions.SSLError):
        fix = "let AWS_CA_BUNDLE name the authority that signed it"
        return _refused(f"{bucket} at {endpoint}", "its certificate is not trusted", fix, text)
    away = (exceptions.HTTPClientError, exceptions.IncompleteReadError, exceptions.ConnectionError)
    if isinstance(error, away):
        return StorageAway(errno.EIO, f"{bucket}: no answer from {endpoint} ({text})")
    return _refused(bucket, "it cannot be asked", "see the AWS settings of this process", text)


def _answered(response: dict[str, Any], bucket: str, key: str, endpoint: str) -> OSError:
    code = str(response["Error"].get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = " ".join(str(response["Error"].get("Message", "")).split())
    why = f"{code}: {message}" if message else code
    if code == "NoSuchKey":
        return FileNotFoundError(errno.ENOENT, "no such object", f"{bucket}/{key}")
    if code in _FULL:
        return _refused(bucket, "storage is full", "make room, or raise the quota", why, errno.ENOSPC)
    if code in _BUSY or (status >= 500 and code != "NotImplemented"):
        return StorageAway(errno.EIO, f"{bucket}: {endpoint} cannot answer now ({why})")
    what, fix = _REFUSALS.get(code) or ("the request is refused", "see the server's answer")
    refused = _refused(f"{bucket} at {endpoint}", what, fix, why)
    refused.code = code
    return refused


def _refused(where: str, what: str, fix: str, why: str, number: int = errno.EIO) -> StorageRefused:
    return StorageRefused(number, f"{where}: {what} ({why}); {fix}")
