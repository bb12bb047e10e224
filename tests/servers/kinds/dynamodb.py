"""DynamoDB Local, Amazon's own emulator, from npm; it runs on the machine's Java."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import cached, npm, run
from tests.servers.kind import Kind, Plan, UnavailableError, ask

VERSION = "2.9.30"
LAUNCHER = Path(__file__).with_name("LoopbackDynamoDB.java")
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xshare:auto")
# The emulator accepts any credentials, but they must have this form.
CREDENTIAL = "AWS4-HMAC-SHA256 Credential=test/20000101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
LIST_TABLES = (
    "POST / HTTP/1.0\r\n"
    f"Authorization: {CREDENTIAL}\r\n"
    "X-Amz-Target: DynamoDB_20120810.ListTables\r\n"
    "Content-Type: application/x-amz-json-1.0\r\n"
    "Content-Length: 2\r\n\r\n{}"
).encode()


def program() -> tuple[Path, Path]:
    """The emulator's folder and that of the compiled launcher."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        raise UnavailableError("DynamoDB Local needs a JDK (17 or later) on the PATH")
    emulator = npm("amplify-dynamodb-simulator", VERSION, "emulator")

    def compile_launcher(folder: Path) -> None:
        run(("javac", "-nowarn", "-cp", classpath(emulator), "-d", folder, LAUNCHER), folder)

    return emulator, cached(f"launcher-{VERSION}-{LAUNCHER.stat().st_size}", compile_launcher)


def classpath(emulator: Path) -> str:
    return f"{emulator}/DynamoDBLocal.jar:{emulator}/DynamoDBLocal_lib/*"


def plan(_folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    emulator, launcher = program()
    java = (
        *("java", *JVM, f"-Djava.library.path={emulator}/DynamoDBLocal_lib"),
        *("-cp", f"{launcher}:{classpath(emulator)}", "LoopbackDynamoDB"),
    )
    return Plan(
        commands=((*java, "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(ports[0]), *args),),
        endpoint=f"http://127.0.0.1:{ports[0]}",
        probe=lambda: ask(ports[0], LIST_TABLES, b"HTTP/1.1 200"),
    )


KIND = Kind("dynamodb", "KV_TEST_DYNAMODB_URL", 1, program, plan)
