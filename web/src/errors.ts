/** What can go wrong, one class for each thing that a user can act on. A message is one line. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

/** The file is damaged, truncated or breaks the specification. */
export class FormatError extends DecodeError {
  override name = "FormatError";
}

/** The file is well-formed but needs a newer decoder, or a model that cannot run in a browser. */
export class UnsupportedError extends DecodeError {
  override name = "UnsupportedError";
}

/** The picture exceeds a limit on size or memory. */
export class LimitError extends DecodeError {
  override name = "LimitError";
}

/** Weights are missing, damaged, or not the ones that the file was made with. */
export class WeightsError extends DecodeError {
  override name = "WeightsError";
}

/** The file cannot be read. */
export class InputError extends DecodeError {
  override name = "InputError";
}

/** The options do not make sense with this file. */
export class UsageError extends DecodeError {
  override name = "UsageError";
}

const CLASSES = { DecodeError, FormatError, UnsupportedError, LimitError, WeightsError, InputError, UsageError };

/** The error of a worker, as it came in a message. */
export function errorOf(name: string, message: string): Error {
  const kind = CLASSES[name as keyof typeof CLASSES];
  return kind ? new kind(message) : new DecodeError(message);
}
