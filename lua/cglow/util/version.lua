--- The version of the library, as the rockspecs name it.
-- @module cglow.util.version
return "0.1.0"
