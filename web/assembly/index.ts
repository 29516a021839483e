export { useScratch } from "./memory";
export { isRelaxed } from "./products";
export {
  runAdd,
  runChannelwise,
  runDense,
  runDepthToSpace,
  runGated,
  runProduct,
  runSpaceToDepth,
} from "./layers";
export { runConvolve, runEnhance, runPixelInputs } from "./enhancement";
export { runRows } from "./network";
export { isFinished, makeTable, readFlags, readOffsets, readValues, startDecoder } from "./coder";
export {
  runBlockMap,
  runContrastMap,
  runInherit,
  runMore,
  runPut,
  runScatter,
  runStillEmpty,
  runValueMap,
} from "./maps";
export {
  runCoefficients,
  runContrast,
  runCopy,
  runCorrect,
  runInputs,
  runLevels,
  runPlanar,
} from "./coefficients";
export { runColours, runColumns, runDifference, runLines } from "./pixels";
export { runClamp, runFilter } from "./filter";
