-- A busted helper: the collector never rests while the specs run.  With a pause
-- of 0 the next cycle starts when one ends (`collectgarbage "incremental"` takes a
-- 0 for "as it was"), and small steps make it run between almost any two
-- allocations: what C code has not anchored is found out.
collectgarbage("incremental", 1, 1000, 6)
collectgarbage("setpause", 0)
